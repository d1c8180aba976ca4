// The page that runs the experiment: its controls, its curves, its state in the address. The training is worker.js's.
(() => {
  const $ = (id) => document.getElementById(`trial-${id}`);
  const fields = ["seed", "start", "logits", "projection"];
  const shown = { raw: ["#0072b2", "raw accuracy"], centred: ["#d55e00", "centred accuracy"], cosine: ["#009e73", "cosine, mean over the steps since the last point"] };
  const place = new URL("data.js", document.currentScript.src).href;
  let worker = null, points = [];

  // --- state <-> address ---------------------------------------------------------------------------
  const chosen = () => Object.fromEntries(fields.map((name) => [name, name === "seed" ? Number($(name).value) : $(name).value]));
  const remember = () => history.replaceState(null, "", "#" + new URLSearchParams(chosen()));

  function restore() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of fields) {
      if (!given.has(name)) continue;
      const before = $(name).value;
      $(name).value = given.get(name);
      if (!$(name).value || !$(name).checkValidity()) $(name).value = before;
    }
  }

  // --- curves ---------------------------------------------------------------------------------------
  const WIDTH = 360, HEIGHT = 200, LEFT = 44, BOTTOM = 34, TOP = 8, RIGHT = 8;

  function curves(svg, names, low, high) {
    const last = points.at(-1)?.steps ?? 1;
    const x = (step) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / last;
    const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (value - low)) / (high - low);
    const text = (at, up, content, anchor) => `<text x="${at}" y="${up}" text-anchor="${anchor}">${content}</text>`;
    const ticks = [low, (low + high) / 2, high].map((v) => text(LEFT - 5, y(v) + 4, v.toFixed(2), "end"));
    const level = names.includes("cosine") ? 0 : 0.1; // chance, of ten digits
    const lines = names.map((name) => {
      const drawn = points.filter((p) => Number.isFinite(p[name])).map((p) => `${x(p.step).toFixed(1)},${y(p[name]).toFixed(1)}`);
      const dash = name === "centred" ? ' stroke-dasharray="7 3"' : "";
      return `<polyline points="${drawn.join(" ")}" fill="none" stroke="${shown[name][0]}" stroke-width="2.2"${dash}/>`;
    });
    svg.innerHTML =
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(level)}" y2="${y(level)}" stroke="currentColor" stroke-dasharray="2 3" opacity="0.7"/>` +
      `<path d="M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}" fill="none" stroke="currentColor"/>` +
      ticks.join("") + text(x(0), HEIGHT - 18, 0, "middle") + text(x(last), HEIGHT - 18, last, "end") +
      text((LEFT + WIDTH) / 2, HEIGHT - 4, "student's step", "middle") + lines.join("");
  }

  function pictures(units) {
    const places = $("units").querySelectorAll("canvas");
    const most = Math.max(...units.map((unit) => unit.reduce((m, v) => Math.max(m, Math.abs(v)), 0)), 1e-9);
    units.forEach((unit, i) => {
      const image = new ImageData(28, 28);
      unit.forEach((v, pixel) => {
        image.data.fill(128 + (127 * v) / most, 4 * pixel, 4 * pixel + 3);
        image.data[4 * pixel + 3] = 255;
      });
      places[i].getContext("2d").putImageData(image, 0, 0);
    });
  }

  // --- a run -----------------------------------------------------------------------------------------
  function draw() {
    curves($("accuracy"), ["raw", "centred"], 0, 1);
    curves($("cosine"), ["cosine"], -0.1, 0.2);
  }

  function say(text) { $("now").textContent = text; }

  const percent = (value) => `${(100 * value).toFixed(0)} %`;

  function verdict() {
    const [begin, end] = [points[0], points.at(-1)];
    const hidden = end.centred - begin.centred > 0.2 && end.raw - begin.raw < 0.5 * (end.centred - begin.centred);
    return `The student reads ${percent(end.raw)} of the digits by its largest output (${percent(begin.raw)} before), and ` +
      `${percent(end.centred)} once each output's own mean is taken out (${percent(begin.centred)} before).` +
      (hidden ? " Most of what it knows is hidden by an offset." : "");
  }

  function stop(text) {
    worker?.terminate();
    worker = null;
    $("run").disabled = false;
    $("stop").disabled = true;
    say(text);
  }

  function told(data, resolve) {
    if (data.phase === "failed") { stop(`It could not run here: ${data.reason}`); resolve(null); return; }
    if (data.phase === "taught") say(`The teacher reads ${percent(data.raw)} of the test digits. Now the student, on noise.`);
    if (data.step !== undefined) $("progress").value = (data.phase === "student" ? 0.25 + (0.75 * data.step) / data.steps : (0.25 * data.step) / data.steps);
    if (data.phase === "student") {
      const { cosines, pictures: units, ...point } = data;
      points.push({ ...point, cosine: cosines.length ? cosines.reduce((a, b) => a + b) / cosines.length : NaN });
      draw();
      pictures(units);
    }
    if (data.phase === "done") { stop(verdict()); resolve(points); }
  }

  let loading = null; // the library and the digits, two megabytes, once a run is asked for

  function load() {
    loading ??= new Promise((resolve) => {
      const script = Object.assign(document.createElement("script"), { src: place, onload: resolve, onerror: resolve });
      document.head.append(script);
    });
    return loading;
  }

  async function run() {
    if (!$("form").reportValidity()) return null;
    remember();
    points = [];
    draw();
    $("progress").value = 0;
    $("run").disabled = true;
    $("stop").disabled = false;
    say("Library and digits are being loaded.");
    await load();
    if (!window.TRIAL?.library) {
      stop(`This copy of the book was built without the library that this page needs: ${window.TRIAL?.missing ?? "its script is not there"}`);
      return null;
    }
    if ($("stop").disabled) return null; // stopped meanwhile
    say("The teacher is being trained.");
    const source = URL.createObjectURL(new Blob([window.TRIAL.worker], { type: "text/javascript" }));
    worker = new Worker(source);
    return new Promise((resolve) => {
      worker.onmessage = ({ data }) => told(data, resolve);
      worker.onerror = (error) => told({ phase: "failed", reason: error.message }, resolve);
      worker.postMessage({ ...window.TRIAL, chosen: chosen() });
    });
  }

  function begin() {
    restore();
    draw();
    $("form").addEventListener("submit", (event) => { event.preventDefault(); window.trialRun(); });
    $("form").addEventListener("change", remember);
    $("stop").addEventListener("click", () => stop("Stopped."));
    window.addEventListener("hashchange", restore);
  }

  window.trialRun = run;
  begin();
})();
