// The page's state comes from the server (api/state), so a reload or a second tab shows the same.

import { Preview } from "./preview.js";
import { Viewer } from "./viewer.js";

const POLL_MS = 300;
const MATCHES = {
  look: "Applies the style photo's grading: contrast, warmth, faded or rich colors.",
  auto: "Near the palette, and the nearer the more alike the two scenes are.",
  palette: "Takes the style photo's own light and colors, for similar scenes.",
};
const POLICIES = {
  codec: "The intra-coded frames of the video's codec, and every scene cut.",
  content: "Where the content has changed enough, as scored by a small model, and at every scene cut.",
  every: "At a fixed interval, and at every scene cut.",
  adaptive: "When the similarity to the motion-compensated last key frame falls below this value (0 to 1).",
};
const INTERPOLATIONS = {
  transfer: "Warps the edge's color maps along the motion and applies them to each frame: sharp edges, no ghosting.",
  warp: "The paper's method: warps the pixels of the stylized key frames.",
};

const $ = (selector) => document.querySelector(selector);
const form = $("#setup");
const viewer = new Viewer($("#stage"));
const preview = new Preview($("#stage"), form, Object.keys(MATCHES), showError);
let uploads = 0; // a new file may have the name of the last one
let again = false; // the preview is shown although there is a result
let state = null;
let shown = null; // number of the last finished job that the page has shown

async function request(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The studio does not respond. Is it still running?");
  }
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.error);
  return value;
}

function showError(error) {
  $("#alert").textContent = error ? error.message : "";
  $("#alert").hidden = !error;
}

// Files

const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;

function send(role, file) {
  // XMLHttpRequest, because fetch does not report upload progress.
  return new Promise((resolve, reject) => {
    const upload = new XMLHttpRequest();
    const drop = $(`[data-role=${role}]`);
    upload.open("PUT", `api/files/${role}?name=${encodeURIComponent(file.name)}`);
    upload.upload.onprogress = (event) => drop.style.setProperty("--sent", event.loaded / event.total);
    upload.onerror = () => reject(new Error("The upload failed. Is the studio still running?"));
    upload.onload = () => {
      const value = JSON.parse(upload.responseText);
      if (upload.status < 300) resolve(value);
      else reject(new Error(value.error));
    };
    upload.send(file);
  });
}

async function take(role, file) {
  const drop = $(`[data-role=${role}]`);
  showError(null);
  if (file.size > state.max_upload) {
    showError(new Error(`${file.name} is ${megabytes(file.size)}; the studio's limit is ${megabytes(state.max_upload)}. ` +
      "Trim it, start the studio with a larger --max-upload, or use mvstylizer stylize"));
    return;
  }
  drop.classList.add("busy");
  try {
    await send(role, file);
    uploads += 1;
    again = false;
    drop.querySelector(".thumb").dataset.name = ""; // the new file may have the same name as the last one
  } catch (error) {
    showError(error);
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
// A file dropped outside the fields must not make the browser leave the page; it goes to the field that fits.
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
  const { match, policy, interpolation } = Object.fromEntries(new FormData(form));
  $("#match-explained").textContent = MATCHES[match];
  $("#policy-explained").textContent = POLICIES[policy];
  $("#interpolation-explained").textContent = INTERPOLATIONS[interpolation];
  for (const label of form.querySelectorAll(".number")) label.hidden = label.dataset.for !== policy;
  $("#strength-shown").textContent = `${form.strength.value} %`;
}
form.addEventListener("input", explain);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  showError(null);
  again = false;
  const { match, policy, interpolation, strength } = Object.fromEntries(new FormData(form));
  const key_frames = policy in form.elements ? `${policy}:${form.elements[policy].value}` : policy;
  try {
    await request("api/job", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ match, key_frames, interpolation, strength: strength / 100 }),
    });
    await refresh();
    $("#stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  } catch (error) {
    showError(error);
  }
});
$("#cancel").addEventListener("click", () => request("api/job", { method: "DELETE" }).catch(showError));

for (const [button, value] of [["#again", true], ["#back", false]]) {
  $(button).addEventListener("click", () => {
    again = value;
    viewer.pause();
    show();
  });
}

// State

function showProgress(job) {
  const share = job.total ? Math.min(1, job.done / job.total) : null;
  document.querySelector(".running").classList.toggle("unknown", share === null);
  $("#percent").textContent = Math.floor(100 * (share ?? 0));
  if (share === null) $("#progress").removeAttribute("value");
  else $("#progress").value = share;
  const left = share ? Math.ceil((job.seconds / share) * (1 - share)) : null;
  $("#progress-text").textContent = job.cancelling ? "Cancelling" : !job.done ? "Waiting for the first key frame"
    : `Frame ${job.done}${job.total ? ` of ${job.total}` : ""}${left === null ? "" : ` · about ${left} s left`}`;
}

function show() {
  const { files, job } = state;
  $("#backend").textContent = `${state.model} · ${state.backend}`;
  for (const role of ["source", "style"]) showFile(role, files[role]);
  const running = job?.state === "running";
  $("#go").disabled = running || !(files.source && files.style);
  document.querySelectorAll(".drop input").forEach((input) => (input.disabled = running));
  if (running) showProgress(job);
  const done = job?.state === "done";
  const ready = files.source && files.style;
  const previews = ready && !running && (!done || again);
  $("#stage").dataset.shows = running ? "running" : previews ? "preview" : done ? "result" : "nothing";
  $("#back").hidden = !done;
  if (previews) preview.show(files.source, files.style, uploads);
  const ended = job && !running ? job.number : null;
  if (ended === shown) return;
  shown = ended;
  if (done) viewer.show(job.report, files.source, job.seconds);
  else viewer.close();
  if (job?.state === "failed") showError(new Error(job.error));
}

async function refresh() {
  try {
    state = await request("api/state");
    show();
  } catch (error) {
    showError(error);
  }
}

async function follow() {
  await refresh();
  setTimeout(follow, state?.job?.state === "running" ? POLL_MS : 5 * POLL_MS);
}

explain();
follow();
