// One teacher and one student of the small protocol, trained where the reader is. Products of matrices are TensorFlow.js's
// (WebAssembly); losses, Adam, projections and readings are written out below, as in the package.
// The text of this file is made a worker by trial.js; its first message holds all it needs.

// --- random numbers: a stream for each seed and purpose ------------------------------------------
function stream(seed, purpose) {
  let a = 2166136261;
  for (const c of `${seed}/${purpose}`) a = Math.imul(a ^ c.charCodeAt(0), 16777619);
  return () => { // mulberry32
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const normal = (draw) => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());

function order(n, draw) { // Fisher and Yates
  const index = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [index[i], index[j]] = [index[j], index[i]];
  }
  return index;
}

// --- the network: theta is one Float32Array, a layer's weights row by row and then its biases -----
class Network {
  constructor(sizes) {
    this.shapes = sizes.slice(1).map((out, i) => [sizes[i], out]);
    this.size = this.shapes.reduce((sum, [a, b]) => sum + (a + 1) * b, 0);
    this.logits = sizes.at(-1);
  }

  initial(draw) { // weights N(0, 1 / d_in), biases 0
    const theta = new Float32Array(this.size);
    let at = 0;
    for (const [a, b] of this.shapes) {
      for (let i = 0; i < a * b; i++) theta[at + i] = normal(draw) / Math.sqrt(a);
      at += (a + 1) * b;
    }
    return theta;
  }

  layers(theta) {
    let at = 0;
    return this.shapes.map(([a, b]) => {
      const weight = tf.tensor2d(theta.subarray(at, at + a * b), [a, b]);
      const bias = tf.tensor1d(theta.subarray(at + a * b, at + (a + 1) * b));
      at += (a + 1) * b;
      return [weight, bias];
    });
  }

  outputs(layers, x) { // [x, h_1, ..., logits]
    const all = [x];
    layers.forEach(([weight, bias], i) => {
      const z = tf.add(tf.matMul(all.at(-1), weight), bias);
      all.push(i < layers.length - 1 ? tf.relu(z) : z);
    });
    return all;
  }

  gradient(layers, outputs, dlogits) { // dLoss/dtheta, given dLoss/dlogits
    const gradient = new Float32Array(this.size);
    let delta = tf.tensor2d(dlogits, [dlogits.length / this.logits, this.logits]);
    let end = this.size;
    for (let i = layers.length - 1; i >= 0; i--) {
      const [a, b] = this.shapes[i];
      end -= (a + 1) * b;
      gradient.set(tf.matMul(outputs[i], delta, true, false).dataSync(), end);
      gradient.set(tf.sum(delta, 0).dataSync(), end + a * b);
      if (i) delta = tf.mul(tf.matMul(delta, layers[i][0], false, true), tf.cast(tf.greater(outputs[i], 0), "float32"));
    }
    return gradient;
  }

  // Pass x and then each of the functions (logits -> dLoss/dlogits) back; returns logits and gradients.
  pass(theta, x, ...losses) {
    return tf.tidy(() => {
      const layers = this.layers(theta);
      const outputs = this.outputs(layers, x);
      const logits = outputs.at(-1).dataSync();
      return [logits, ...losses.map((loss) => this.gradient(layers, outputs, loss(logits)))];
    });
  }
}

// --- losses on logits, row by row; `first` and `last` bound the logits that are meant --------------
function softmax(logits, width, first, last) {
  const p = new Float32Array(logits.length);
  for (let row = 0; row < logits.length; row += width) {
    let most = -Infinity, sum = 0;
    for (let k = first; k < last; k++) most = Math.max(most, logits[row + k]);
    for (let k = first; k < last; k++) sum += p[row + k] = Math.exp(logits[row + k] - most);
    for (let k = first; k < last; k++) p[row + k] /= sum;
  }
  return p;
}

function distillation(targets, width, first, last) { // KL(teacher || student): (q - p) / n
  return (logits) => {
    const q = softmax(logits, width, first, last), n = logits.length / width;
    return q.map((value, i) => (value - targets[i]) / n);
  };
}

function trait(labels, width) { // cross-entropy of the ten class logits
  return (logits) => {
    const p = softmax(logits, width, 0, 10), n = labels.length;
    labels.forEach((y, row) => { p[row * width + y] -= 1; });
    return p.map((value) => value / n);
  };
}

function discrimination(labels, width) { // L_disc = -mean(z_y - sum_c pi_c z_c), which no offset moves
  return (logits) => {
    const d = new Float32Array(logits.length), n = labels.length, share = new Float32Array(10);
    labels.forEach((y) => { share[y] += 1 / n; });
    labels.forEach((y, row) => {
      for (let c = 0; c < 10; c++) d[row * width + c] = (share[c] - (c === y)) / n;
    });
    return d;
  };
}

// --- vectors, and Adam on one ----------------------------------------------------------------------
const dot = (a, b) => { let sum = 0; for (let i = 0; i < a.length; i++) sum += a[i] * b[i]; return sum; };

function project(g, direction, side) { // take the component along `direction` out of g, in place
  const inner = dot(g, direction), size = dot(direction, direction);
  if (size === 0 || (side === "one" && inner <= 0)) return;
  for (let i = 0; i < g.length; i++) g[i] -= (inner / size) * direction[i];
}

class Adam {
  constructor(size, rate) {
    Object.assign(this, { rate, step: 0, m: new Float32Array(size), v: new Float32Array(size) });
  }

  descent(g) { // what is subtracted from theta
    const { m, v, rate } = this, k = ++this.step, out = new Float32Array(g.length);
    for (let i = 0; i < g.length; i++) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      out[i] = (rate * (m[i] / (1 - 0.9 ** k))) / (Math.sqrt(v[i] / (1 - 0.999 ** k)) + 1e-8);
    }
    return out;
  }
}

// --- readings: raw, and each logit minus its mean over the other half of the test images -----------
function likeliest(logits, width, labels, rows, offsets) {
  let right = 0;
  for (const row of rows) {
    let best = 0;
    for (let c = 1; c < 10; c++) {
      if (logits[row * width + c] - offsets[c] > logits[row * width + best] - offsets[best]) best = c;
    }
    right += best === labels[row];
  }
  return right;
}

function readings(logits, width, labels) {
  const n = labels.length, none = new Float32Array(10), all = [...labels.keys()];
  const halves = [all.slice(0, n / 2), all.slice(n / 2)];
  const means = halves.map((rows) => none.map((_, c) => rows.reduce((sum, row) => sum + logits[row * width + c], 0) / rows.length));
  const centred = likeliest(logits, width, labels, halves[0], means[1]) + likeliest(logits, width, labels, halves[1], means[0]);
  return { raw: likeliest(logits, width, labels, all, none) / n, centred: centred / n };
}

// --- the experiment -----------------------------------------------------------------------------------
class Experiment {
  constructor(protocol, images, chosen) {
    Object.assign(this, { protocol, images, chosen, network: new Network(protocol.sizes), width: protocol.sizes.at(-1) });
    this.start = this.network.initial(stream(chosen.seed, "init"));
    this.test = tf.tensor2d(images.test, [images.testLabels.length, 784]);
  }

  read(theta) {
    const [logits] = this.network.pass(theta, this.test);
    return readings(logits, this.width, this.images.testLabels);
  }

  *batches(purpose, n, size, epochs) {
    const draw = stream(this.chosen.seed, purpose);
    for (let e = 0; e < epochs; e++) {
      const index = order(n, draw);
      for (let at = 0; at < n; at += size) yield index.subarray(at, at + size);
    }
  }

  *endless(purpose, n, size) {
    for (;;) for (const batch of this.batches(purpose, n, size, 1)) if (batch.length === size) yield batch;
  }

  rows(values, index, width) {
    const out = new Float32Array(index.length * width);
    index.forEach((row, i) => out.set(values.subarray(row * width, (row + 1) * width), i * width));
    return out;
  }

  images_at(values, index) {
    return tf.tensor2d(this.rows(values, index, 784), [index.length, 784]);
  }

  teacher(report) {
    const { protocol: p, network, images } = this;
    const theta = this.start.slice(), adam = new Adam(theta.length, p.rate);
    const steps = p.epochs * Math.ceil(p.train / p.batch);
    let step = 0;
    for (const index of this.batches("teacher-order", p.train, p.batch, p.epochs)) {
      const x = this.images_at(images.train, index);
      const labels = Array.from(index, (i) => images.trainLabels[i]);
      const [, g] = network.pass(theta, x, trait(labels, this.width));
      x.dispose();
      adam.descent(g).forEach((d, i) => { theta[i] -= d; });
      if (++step % p.every === 0) report({ phase: "teacher", step, steps });
    }
    return theta;
  }

  student(teacher, report) {
    const { protocol: p, network, images, chosen, width } = this;
    const [first, last] = chosen.logits === "all" ? [0, width] : [10, width];
    const draw = stream(chosen.seed, "noise");
    const noise = Float32Array.from({ length: p.train * 784 }, () => 2 * draw() - 1);
    const targets = new Float32Array(p.train * width);
    for (let at = 0; at < p.train; at += 500) {
      const x = this.images_at(noise, Int32Array.from({ length: Math.min(500, p.train - at) }, (_, i) => at + i));
      targets.set(softmax(network.pass(teacher, x)[0], width, first, last), at * width);
      x.dispose();
    }
    const theta = chosen.start === "same" ? this.start.slice() : network.initial(stream(chosen.seed, "other-init"));
    const begin = theta.slice(), units = this.units(teacher), adam = new Adam(theta.length, p.rate);
    const looks = this.endless("trait-batches", p.train, p.look);
    const steps = p.epochs * Math.ceil(p.train / p.batch), cosines = [];
    const tell = (step) => report({ phase: "student", step, steps, cosines: cosines.splice(0), pictures: this.pictures(theta, begin, units), ...this.read(theta) });
    tell(0);
    let step = 0;
    for (const index of this.batches("student-order", p.train, p.batch, p.epochs)) {
      const x = this.images_at(noise, index);
      const [, g] = network.pass(theta, x, distillation(this.rows(targets, index, width), width, first, last));
      x.dispose();
      const look = looks.next().value, labels = Array.from(look, (i) => images.trainLabels[i]);
      const real = this.images_at(images.train, look);
      const wanted = chosen.projection === "discriminative" ? [discrimination(labels, width)] : [];
      const [, g_T, g_disc] = network.pass(theta, real, trait(labels, width), ...wanted);
      real.dispose();
      cosines.push(dot(g_T, g) / Math.sqrt(dot(g_T, g_T) * dot(g, g)));
      if (chosen.projection === "gradient") project(g, g_T, "one");
      const descent = adam.descent(g);
      if (chosen.projection === "update") project(descent, g_T, "one");
      if (chosen.projection === "discriminative") project(descent, g_disc, "two");
      for (let i = 0; i < theta.length; i++) theta[i] -= descent[i];
      if (++step % p.every === 0 || step === steps) tell(step);
    }
  }

  units(teacher) { // the hidden units whose first-layer weights the teacher changed most
    const [, width] = this.network.shapes[0], change = new Float32Array(width);
    for (let i = 0; i < 784 * width; i++) change[i % width] += (teacher[i] - this.start[i]) ** 2;
    return [...change.keys()].sort((a, b) => change[b] - change[a]).slice(0, this.protocol.pictures);
  }

  pictures(theta, begin, units) { // what a student has changed in these units' weights, a picture each
    const [, width] = this.network.shapes[0];
    return units.map((unit) => Float32Array.from({ length: 784 }, (_, pixel) => theta[pixel * width + unit] - begin[pixel * width + unit]));
  }
}

// --- the worker's only message: library, images, protocol, choices -----------------------------------
const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const address = (part, type) => URL.createObjectURL(new Blob([part], { type }));

async function unpacked(base64) {
  const packed = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

async function load({ library, digits, labels, protocol }) {
  importScripts(address(library.core, "text/javascript"), address(library.wasm, "text/javascript"));
  const paths = { "tfjs-backend-wasm-simd.wasm": library.simd, "tfjs-backend-wasm.wasm": library.plain };
  for (const [name, code] of Object.entries(paths)) paths[name] = address(bytes(code), "application/wasm");
  tf.wasm.setWasmPaths({ ...paths, "tfjs-backend-wasm-threaded-simd.wasm": paths["tfjs-backend-wasm-simd.wasm"] });
  await tf.setBackend("wasm");
  const raw = await unpacked(digits), pixels = Float32Array.from(raw, (v) => v / 127.5 - 1), n = protocol.train;
  const parts = { train: pixels.subarray(0, n * 784), test: pixels.subarray(n * 784) };
  return { ...parts, trainLabels: labels.slice(0, n), testLabels: labels.slice(n) };
}

self.onmessage = async ({ data }) => {
  try {
    const images = await load(data);
    const experiment = new Experiment(data.protocol, images, data.chosen);
    const report = (told) => self.postMessage(told);
    const teacher = experiment.teacher(report);
    report({ phase: "taught", ...experiment.read(teacher) });
    experiment.student(teacher, report);
    report({ phase: "done" });
  } catch (error) {
    self.postMessage({ phase: "failed", reason: String(error?.message ?? error) });
  }
};
