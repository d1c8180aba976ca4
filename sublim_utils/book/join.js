// Run on a page of the built book: with `whole`, join all pages into this one, in the order of the contents; else leave its article alone.
async (whole_book) => {
  const bare = (url) => url.split("#")[0];
  const links = [...document.querySelectorAll("nav.bd-links a[href]")].map((a) => bare(a.href));
  const pages = whole_book ? [...new Set([bare(location.href), ...links])] : [bare(location.href)];
  const key = (url) => new URL(url).pathname.replace(/\W+/g, "-");
  const whole = document.createElement("main");
  const contents = Object.assign(document.createElement("ul"), { className: "contents" });
  for (const url of pages) {
    const text = await (await fetch(url)).text();
    const article = new DOMParser().parseFromString(text, "text/html").querySelector("article");
    article.id = ""; // its page's key becomes the anchor
    const moving = article.querySelector(".explorer");
    if (moving) moving.replaceWith(Object.assign(document.createElement("p"), { textContent: "(Interactive: open this page in a browser.)" }));
    for (const e of article.querySelectorAll(".headerlink, .explorer, script, [hidden]")) e.remove();
    for (const e of article.querySelectorAll("[id]")) e.id = `${key(url)}-${e.id}`;
    article.id = key(url);
    for (const e of article.querySelectorAll("img[src]")) e.src = new URL(e.getAttribute("src"), url).href;
    for (const e of article.querySelectorAll("details.above-input")) e.remove(); // code that the pages fold: the book has it
    for (const e of article.querySelectorAll("details")) e.open = true;
    for (const a of article.querySelectorAll("a[href]")) {
      const target = new URL(a.getAttribute("href"), url);
      const page = bare(target.href);
      if (pages.includes(page)) a.href = `#${key(page)}${target.hash && "-"}${decodeURIComponent(target.hash.slice(1))}`;
      else if (target.origin === location.origin) a.removeAttribute("href"); // a file beside the book
    }
    const title = article.querySelector("h1").textContent.replace("#", "").trim();
    const entry = Object.assign(document.createElement("a"), { href: `#${key(url)}`, textContent: title });
    if (url !== pages[0]) contents.appendChild(document.createElement("li")).append(entry);
    whole.append(document.adoptNode(article), Object.assign(document.createElement("div"), { className: "page-break" }));
  }
  whole.lastElementChild.remove();
  const heading = Object.assign(document.createElement("h2"), { textContent: "Contents" });
  const list = document.createElement("section");
  list.append(heading, contents);
  if (whole_book) {
    whole.firstElementChild.after(list); // behind the first page
    whole.insertBefore(Object.assign(document.createElement("div"), { className: "page-break" }), list);
  }
  document.documentElement.dataset.theme = "light";
  document.body.className = "whole-book";
  document.body.replaceChildren(whole);
  await window.MathJax?.startup.promise; // a page without formulas has none
  await window.MathJax?.typesetPromise();
  document.body.getBoundingClientRect(); // lay out, so that the formulas' fonts are asked for
  await document.fonts.ready;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => undefined)));
};
