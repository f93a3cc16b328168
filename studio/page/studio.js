// The page's state comes from the server (api/state), so that a reload or a second tab shows the same.

import { Viewer } from "./viewer.js";

const POLL_MS = 300;
const POLICIES = {
  codec: "The frames that the video's own codec coded whole, and every scene cut.",
  content: "Where the picture has changed enough, judged by a small model.",
  every: "At a fixed distance, and at every scene cut.",
  adaptive: "As soon as the last key frame explains less than this of a frame (0 to 1).",
};
const INTERPOLATIONS = {
  transfer: "Moves the edge's colour maps with the flow and applies them to each frame: its own edges, no ghosts.",
  warp: "The paper's way: moves the pixels of the stylized key frames.",
};

const $ = (selector) => document.querySelector(selector);
const form = $("#setup");
const viewer = new Viewer($("#stage"));
let state = null;
let shown = null; // number of the job whose end the page has told

async function ask(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The studio does not answer. Is it still running?");
  }
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.error);
  return value;
}

function complain(error) {
  $("#alert").textContent = error ? error.message : "";
  $("#alert").hidden = !error;
}

// Files

const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;

function send(role, file) {
  // XMLHttpRequest, because fetch does not tell how much has been sent.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const drop = $(`[data-role=${role}]`);
    request.open("PUT", `api/files/${role}?name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => drop.style.setProperty("--sent", event.loaded / event.total);
    request.onerror = () => reject(new Error("The file could not be sent. Is the studio still running?"));
    request.onload = () => {
      const value = JSON.parse(request.responseText);
      if (request.status < 300) resolve(value);
      else reject(new Error(value.error));
    };
    request.send(file);
  });
}

async function take(role, file) {
  const drop = $(`[data-role=${role}]`);
  complain(null);
  if (file.size > state.max_upload) {
    complain(new Error(`${file.name} has ${megabytes(file.size)}; the studio takes ${megabytes(state.max_upload)} at most. ` +
      "Cut it, start the studio with a larger --max-upload, or use mvstylizer stylize"));
    return;
  }
  drop.classList.add("busy");
  try {
    await send(role, file);
    drop.querySelector(".thumb").dataset.name = ""; // a new file may have the last one's name
  } catch (error) {
    complain(error);
  }
  drop.classList.remove("busy");
  drop.style.removeProperty("--sent");
  await refresh();
}

function describe(kept) {
  const parts = [`${kept.width} × ${kept.height}`];
  if (kept.seconds) parts.push(`${kept.seconds.toFixed(1)} s`);
  if (kept.rate) parts.push(`${+kept.rate.toFixed(2)} fps`);
  return parts.join(" · ");
}

function showFile(role, kept) {
  const drop = $(`[data-role=${role}]`);
  const thumb = drop.querySelector(".thumb");
  if (!kept || thumb.dataset.name === kept.name) return;
  const picture = document.createElement(kept.kind === "video" ? "video" : "img");
  picture.src = `api/files/${role}?${Date.now()}`;
  if (kept.kind === "video") Object.assign(picture, { muted: true, preload: "metadata" });
  thumb.replaceChildren(picture);
  thumb.dataset.name = kept.name;
  drop.classList.add("filled");
  drop.querySelector("strong").textContent = kept.name;
  drop.querySelector("small").textContent = describe(kept);
}

for (const drop of document.querySelectorAll(".drop")) {
  const input = drop.querySelector("input");
  input.addEventListener("change", () => {
    if (input.files.length) take(drop.dataset.role, input.files[0]);
    input.value = "";
  });
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
}
// A file dropped beside the fields must not make the browser leave the page: it goes where it fits.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.querySelectorAll(".over").forEach((drop) => drop.classList.remove("over"));
  const file = event.dataTransfer.files[0];
  const field = event.target.closest(".drop");
  if (!file || state.job?.state === "running") return;
  take(field ? field.dataset.role : file.type.startsWith("video/") ? "source" : "style", file);
});

// Choices

function explain() {
  const { policy, interpolation } = Object.fromEntries(new FormData(form));
  $("#policy-explained").textContent = POLICIES[policy];
  $("#interpolation-explained").textContent = INTERPOLATIONS[interpolation];
  for (const label of form.querySelectorAll(".number")) label.hidden = label.dataset.for !== policy;
  $("#strength-shown").textContent = `${form.strength.value} %`;
}
form.addEventListener("input", explain);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  complain(null);
  const { policy, interpolation, strength } = Object.fromEntries(new FormData(form));
  const key_frames = policy in form.elements ? `${policy}:${form.elements[policy].value}` : policy;
  try {
    await ask("api/job", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key_frames, interpolation, strength: strength / 100 }),
    });
    await refresh();
    $("#stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  } catch (error) {
    complain(error);
  }
});
$("#cancel").addEventListener("click", () => ask("api/job", { method: "DELETE" }).catch(complain));

// State

function showProgress(job) {
  const share = job.total ? Math.min(1, job.done / job.total) : null;
  document.querySelector(".running").classList.toggle("unknown", share === null);
  $("#percent").textContent = Math.floor(100 * (share ?? 0));
  if (share === null) $("#progress").removeAttribute("value");
  else $("#progress").value = share;
  const left = share ? Math.ceil((job.seconds / share) * (1 - share)) : null;
  $("#progress-told").textContent = job.cancelling ? "Ending" : !job.done ? "Waiting for the first key frame"
    : `Frame ${job.done}${job.total ? ` of ${job.total}` : ""}${left === null ? "" : ` · about ${left} s to go`}`;
}

function show() {
  const { files, job } = state;
  $("#engine").textContent = `${state.model} · ${state.engine}`;
  for (const role of ["source", "style"]) showFile(role, files[role]);
  const running = job?.state === "running";
  $("#go").disabled = running || !(files.source && files.style);
  document.querySelectorAll(".drop input").forEach((input) => (input.disabled = running));
  if (running) showProgress(job);
  const done = job?.state === "done";
  $("#stage").dataset.shows = running ? "running" : done ? "result" : "nothing";
  const ended = job && !running ? job.number : null;
  if (ended === shown) return;
  shown = ended;
  if (done) viewer.show(job.report, files.source, job.seconds);
  else viewer.close();
  if (job?.state === "failed") complain(new Error(job.error));
}

async function refresh() {
  try {
    state = await ask("api/state");
    show();
  } catch (error) {
    complain(error);
  }
}

async function follow() {
  await refresh();
  setTimeout(follow, state?.job?.state === "running" ? POLL_MS : 5 * POLL_MS);
}

explain();
follow();
