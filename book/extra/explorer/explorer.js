// The explorer page: its controls, its charts (Vega-Lite), and its state in the address.
// window.RUNS holds the runs (sublim_utils/explorer.py); no number is computed here.
(() => {
  const { baseline, quantities, conditions, weights } = window.RUNS;
  const $ = (id) => document.getElementById(id);
  const names = conditions.map((c) => c.name);
  const points = quantities.accuracy.x;
  const initial = () => ({ quantity: "accuracy", show: names.slice(0, 3), view: "mean", change: false, of: baseline, at: points.length - 1 });
  let state = initial();
  let timer = null;

  // --- state <-> address -------------------------------------------------------------------------
  const address = () =>
    "#" + new URLSearchParams({
      quantity: state.quantity, show: state.show.join("|"), view: state.view,
      change: Number(state.change), of: state.of, at: state.at,
    });

  const start = address();

  function restore() {
    if (!location.hash.includes("quantity=")) return; // an anchor of the page
    const given = new URLSearchParams(location.hash.slice(1));
    state = initial();
    if (given.get("quantity") in quantities) state.quantity = given.get("quantity");
    if (given.has("show")) state.show = given.get("show").split("|").filter((name) => names.includes(name));
    if (["mean", "single"].includes(given.get("view"))) state.view = given.get("view");
    state.change = given.get("change") === "1";
    if (names.includes(given.get("of"))) state.of = given.get("of");
    const at = Number(given.get("at"));
    if (given.has("at") && Number.isInteger(at) && at >= 0 && at < points.length) state.at = at;
  }

  // --- controls ----------------------------------------------------------------------------------
  const swatch = ({ colour, dash }) =>
    `<svg width="34" height="10" aria-hidden="true"><line x1="1" x2="33" y1="5" y2="5" stroke="${shade(colour)}"` +
    ` stroke-width="2.5" stroke-dasharray="${dash.map((d) => 2.5 * d)}"/></svg>`;

  function controls() {
    $("explorer-quantity").innerHTML = Object.entries(quantities)
      .map(([id, { label }]) => `<option value="${id}">${label}</option>`).join("");
    $("explorer-of").innerHTML = names.map((name) => `<option>${name}</option>`).join("");
    $("explorer-at").max = points.length - 1;
    const used = [...new Set(conditions.map((c) => `${c.profile}, ${c.n} seeds`))];
    $("explorer-runs").textContent = `Runs: profile ${used.join("; ")}.`;
    const change = (id, event, act) => $(id).addEventListener(event, (e) => { act(e.target); update(); });
    change("explorer-quantity", "change", (e) => (state.quantity = e.value));
    change("explorer-view", "change", (e) => (state.view = e.value));
    change("explorer-change", "change", (e) => (state.change = e.checked));
    change("explorer-show", "change", () =>
      (state.show = [...document.querySelectorAll("#explorer-show input:checked")].map((e) => e.value)));
    change("explorer-of", "change", (e) => (state.of = e.value));
    change("explorer-at", "input", (e) => (state.at = Number(e.value)));
    $("explorer-play").addEventListener("click", play);
    $("explorer-reset").addEventListener("click", () => { state = initial(); update(); });
    addEventListener("hashchange", () => { restore(); update(); });
    new MutationObserver(update).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  function show() {
    $("explorer-quantity").value = state.quantity;
    document.querySelector(`#explorer-view input[value=${state.view}]`).checked = true;
    $("explorer-change").checked = state.change;
    $("explorer-of").value = state.of;
    $("explorer-at").value = state.at;
    const held = document.activeElement?.value; // keep the keyboard's place in the list that is made anew
    const inside = $("explorer-show").contains(document.activeElement);
    $("explorer-show").innerHTML = conditions.map((c) =>
      `<label><input type="checkbox" value="${c.name}"${state.show.includes(c.name) ? " checked" : ""}>` +
      `${swatch(c)} ${c.name}</label>`).join("");
    if (inside) [...$("explorer-show").querySelectorAll("input")].find((e) => e.value === held)?.focus();
  }

  function play() {
    const stop = () => { clearInterval(timer); timer = null; $("explorer-play").textContent = "Play"; };
    if (timer) return stop();
    if (state.at === points.length - 1) state.at = -1;
    $("explorer-play").textContent = "Pause";
    timer = setInterval(() => {
      state.at += 1;
      update();
      if (state.at === points.length - 1) stop();
    }, 600);
  }

  // --- charts ------------------------------------------------------------------------------------
  const dark = () => document.documentElement.dataset.theme === "dark";
  const shade = (colour) => (dark() && colour === "#1a1a1a" ? "#e6e6e6" : colour);
  const number = (v) => (v === null ? "undefined" : String(Number(v.toPrecision(3))));

  function draw(id, label, spec) {
    const ink = dark() ? "#ced6dd" : "#222832";
    const axis = { labelColor: ink, titleColor: ink, tickColor: ink, domainColor: ink, gridOpacity: 0.25, labelFontSize: 12, titleFontSize: 12 };
    return vegaEmbed($(id), {
      width: "container", autosize: { type: "fit-x", contains: "padding" }, background: null,
      config: { axis, view: { stroke: null }, mark: { aria: false } }, ...spec,
    }, { actions: false, renderer: "svg" }).then(({ view }) => {
      // The box is the picture and says in words what it shows; its parts are not for a screen reader.
      $(id).removeAttribute("aria-roledescription");
      $(id).setAttribute("role", "img");
      $(id).setAttribute("aria-label", label);
      return view;
    });
  }

  const chosen = () => conditions.filter((c) => state.show.includes(c.name));
  const ofView = (c) => (state.change ? c.change : c.values)[state.quantity];

  function rows() {
    const { x } = quantities[state.quantity];
    return chosen().filter(ofView).flatMap((c) => {
      if (state.view === "mean") {
        const { mean, low, high } = ofView(c);
        return x.map((epoch, i) => ({ name: c.name, seed: "mean", epoch, y: mean[i], low: low[i], high: high[i] }));
      }
      const single = (state.change ? c.single_change : c.single)[state.quantity];
      return c.seeds.flatMap((seed, k) => x.map((epoch, i) => ({ name: c.name, seed, epoch, y: single[k][i] })));
    });
  }

  function curves() {
    const label = (state.change ? "difference: " : "") + quantities[state.quantity].label;
    const scale = (values) => ({ domain: names, range: values });
    const color = { field: "name", type: "nominal", scale: scale(conditions.map((c) => shade(c.colour))), legend: null };
    const dash = { field: "name", type: "nominal", scale: scale(conditions.map((c) => (c.dash.length ? c.dash.map((d) => 2 * d) : [1, 0]))), legend: null };
    const x = { field: "epoch", type: "quantitative", title: "epoch", axis: { tickMinStep: 1 } };
    const y = { field: "y", type: "quantitative", title: label, scale: { zero: false } };
    const layer = [
      { mark: { type: "line", strokeWidth: state.view === "mean" ? 2.2 : 1.1, clip: true }, encoding: { x, y, color, strokeDash: dash, detail: { field: "seed" } } },
      { mark: { type: "point", opacity: 0, size: 120 }, encoding: { x, y, tooltip: [{ field: "name" }, { field: "seed" }, { field: "epoch", format: ".2f" }, { field: "y", title: label, format: ".3~g" }] } },
    ];
    if (state.view === "mean") layer.unshift({ mark: { type: "area", opacity: 0.18 }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color } });
    if (state.change) layer.unshift({ mark: { type: "rule", strokeDash: [2, 3], color: "#888" }, encoding: { y: { datum: 0, type: "quantitative" } } });
    const seen = chosen().filter(ofView);
    const text = `${label} against epoch, ${state.view === "mean" ? "mean with band" : "single seeds"}: ` +
      `${seen.map((c) => c.name).join(", ") || "no condition chosen"}. The table below gives the last values.`;
    table(label, seen);
    return draw("explorer-curves", text, { height: 320, data: { values: rows() }, layer });
  }

  function table(label, seen) {
    const last = ({ mean, low, high }) => `${number(mean.at(-1))} [${number(low.at(-1))}, ${number(high.at(-1))}]`;
    const cells = seen.map((c) => `<tr><th scope="row">${c.name}</th><td>${last(c.values[state.quantity])}</td>` +
      `<td>${c.change[state.quantity] ? last(c.change[state.quantity]) : "–"}</td><td>${c.n}</td></tr>`);
    $("explorer-table").innerHTML = `<caption>${quantities[state.quantity].label}, at the end: mean [95 % interval]</caption>` +
      `<thead><tr><th scope="col">condition</th><th scope="col">value</th><th scope="col">minus ${baseline}, paired</th>` +
      `<th scope="col">seeds</th></tr></thead><tbody>${cells.join("")}</tbody>`;
  }

  function learning() {
    const c = conditions.find((one) => one.name === state.of);
    const [mean, low, high] = ["mean", "low", "high"].map((kind) => c.classes[kind][state.at]);
    const colour = shade(c.colour);
    const values = mean.map((share, digit) => ({ digit, share, low: Math.max(0, low[digit]), high: Math.min(1, high[digit]) }));
    const digit = { field: "digit", type: "ordinal", axis: { labelAngle: 0 } };
    const y = { field: "share", type: "quantitative", scale: { domain: [0, 1] }, title: "share read right" };
    const best = mean.indexOf(Math.max(...mean));
    const worst = mean.indexOf(Math.min(...mean));
    const { x } = quantities.cosine;
    const near = x.findLastIndex((epoch) => epoch <= points[state.at]);
    const cosine = near < 0 ? null : c.values.cosine.mean[near];
    const text = `After ${number(points[state.at])} epochs of ${c.name}: accuracy ${number(c.values.accuracy.mean[state.at])}, ` +
      `digit ${best} read best (${number(mean[best])}), digit ${worst} worst (${number(mean[worst])})` +
      `${cosine === null ? "" : `; cosine ${number(cosine)}`}.`;
    $("explorer-now").textContent = text;
    $("explorer-at").setAttribute("aria-valuetext", `${number(points[state.at])} epochs`);
    const line = x.map((epoch, i) => ({ epoch, y: c.values.cosine.mean[i], low: c.values.cosine.low[i], high: c.values.cosine.high[i] }));
    const at = { field: "epoch", type: "quantitative", title: "epoch", axis: { tickMinStep: 1 } };
    const up = { field: "y", type: "quantitative", title: "cosine" };
    return Promise.all([
      draw("explorer-classes", `Accuracy by digit. ${text}`, { height: 220, data: { values }, layer: [
        { mark: { type: "bar", color: colour, opacity: 0.85 }, encoding: { x: digit, y } },
        { mark: { type: "rule", color: dark() ? "#fff" : "#000" }, encoding: { x: digit, y: { ...y, field: "low" }, y2: { field: "high" } } },
      ] }),
      draw("explorer-alignment", `Cosine of ${c.name} against epoch, marked at ${number(points[state.at])} epochs.`, { height: 220, data: { values: line }, layer: [
        { mark: { type: "area", color: colour, opacity: 0.18 }, encoding: { x: at, y: { ...up, field: "low" }, y2: { field: "high" } } },
        { mark: { type: "line", color: colour }, encoding: { x: at, y: up } },
        { mark: { type: "rule", color: "#888" }, encoding: { y: { datum: 0, type: "quantitative" } } },
        { mark: { type: "rule", color: dark() ? "#fff" : "#000", strokeWidth: 2 }, encoding: { x: { datum: points[state.at], type: "quantitative" } } },
      ] }),
    ]);
  }

  // --- the first layer's weights -----------------------------------------------------------------
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const teacher = bytes(weights.teacher);
  const students = Object.fromEntries(Object.entries(weights.students).map(([name, s]) => [name, bytes(s.pixels)]));

  // One row of pictures, a unit each, from grey values (unit, row, column).
  function paint(id, grey, label) {
    const { side, units } = weights;
    const canvas = $(id);
    const gap = 2;
    [canvas.width, canvas.height] = [units * (side + gap) - gap, side];
    const context = canvas.getContext("2d");
    for (let unit = 0; unit < units; unit += 1) {
      const image = context.createImageData(side, side);
      const from = unit * side * side;
      image.data.forEach((_, i) => (image.data[i] = i % 4 === 3 ? 255 : grey[from + (i >> 2)]));
      context.putImageData(image, unit * (side + gap), 0);
    }
    canvas.setAttribute("aria-label", label);
  }

  function learned() {
    const { units, side, seed, profile } = weights;
    const pixels = students[state.of];
    const after = `after ${number(points[state.at])} epochs`;
    $("explorer-student").parentElement.hidden = !pixels;
    if (!pixels) {
      $("explorer-weights").textContent = `No pictures are kept of ${state.of}; there are some of ${Object.keys(students).join(", ")}.`;
      return;
    }
    const { cosine, ratio } = weights.students[state.of];
    const size = units * side * side;
    paint("explorer-student", pixels.subarray(state.at * size, (state.at + 1) * size), `Change of the first layer of ${state.of} ${after}`);
    $("explorer-student-name").textContent = `${state.of}, ${after}`;
    const far = `has moved ${number(ratio[state.at])} times as far as the teacher of the same start`;
    const turned = cosine[state.at] === null ? "" : `, and the cosine between the two displacements is ${number(cosine[state.at])}`;
    $("explorer-weights").textContent = `Seed ${seed} (profile ${profile}): ${after} the student ${far}${turned}.`;
  }

  function update() {
    show();
    learned();
    if (location.hash || address() !== start) history.replaceState(null, "", address());
    return Promise.all([curves(), learning()]).then(() => ($("explorer").dataset.ready = address()));
  }

  restore();
  controls();
  paint("explorer-teacher", teacher, "Change of the first layer of the teacher after training");
  update();
})();
