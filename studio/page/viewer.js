// Compare the original and the result: a split view with a slider, synchronized playback, key frames on the timeline.

const MANY_KEYS = 120;
const SMALL_DRIFT_S = 0.02;
const LARGE_DRIFT_S = 0.4;

const clockOf = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

export class Viewer {
  constructor(stage) {
    this.$ = (selector) => stage.querySelector(selector);
    this.after = this.$("#after");
    this.before = this.$("#before");
    this.keys = []; // times of the key frames, in seconds
    this.#wire();
  }

  /** Show the result of a job, given its report, its source and its duration. */
  show(report, source, seconds) {
    const photo = source.kind === "photo";
    const version = Date.now(); // defeats caching: all jobs use the same URLs
    document.body.classList.toggle("photo", photo);
    this.$("#compare").classList.remove("alone");
    this.$("#unplayable").hidden = true;
    this.$("#compare").style.setProperty("--shape", `${report.width} / ${report.height}`);
    this.$("#compare").style.setProperty("--wide", report.width / report.height);
    for (const [layer, path] of [["after", "api/result"], ["before", "api/files/source"]]) {
      this.$(`.${layer} ${photo ? "img" : "video"}`).src = `${path}?${version}`;
    }
    this.$("#mute").hidden = !source.has_audio;
    this.report = report;
    this.#summarize(seconds, photo);
    if (!photo) this.after.play().catch(() => {}); // browsers may require a click first
  }

  pause() {
    this.after.pause();
  }

  close() {
    for (const video of [this.after, this.before]) {
      if (video.hasAttribute("src")) {
        video.removeAttribute("src");
        video.load();
      }
    }
  }

  #wire() {
    const { after, before } = this;
    this.$("#split").addEventListener("input", (event) =>
      this.$("#compare").style.setProperty("--split", `${event.target.value}%`));
    this.$("#play").addEventListener("click", () => (after.paused ? after.play() : after.pause()));
    this.$("#mute").addEventListener("click", () => (after.muted = !after.muted));
    this.$("#seek").addEventListener("input", (event) => this.#seek(+event.target.value));
    this.$("#previous-key").addEventListener("click", () => this.#toKey(-1));
    this.$("#next-key").addEventListener("click", () => this.#toKey(1));
    before.addEventListener("error", () => before.hasAttribute("src") && this.#alone());
    after.addEventListener("loadedmetadata", () => this.#timeline());
    after.addEventListener("play", () => before.play().catch(() => {}));
    after.addEventListener("pause", () => before.pause());
    after.addEventListener("seeking", () => (before.currentTime = after.currentTime));
    after.addEventListener("volumechange", () => {
      this.$("#mute").classList.toggle("muted", after.muted);
      this.$("#mute").setAttribute("aria-label", after.muted ? "Sound on" : "Sound off");
    });
    const tick = () => {
      if (after.duration) this.#tick();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  #tick() {
    const { after } = this;
    this.$("#play").classList.toggle("playing", !after.paused);
    this.$("#play").setAttribute("aria-label", after.paused ? "Play" : "Pause");
    this.$("#seek").value = after.currentTime;
    this.$("#timeline").style.setProperty("--at", after.currentTime / after.duration);
    this.$("#clock").textContent = `${clockOf(after.currentTime)} / ${clockOf(after.duration)}`;
    if (!after.seeking && !this.before.seeking) this.#keepStep();
  }

  /** Keep the original in step with the result: by its playback rate while playing, because a seek would stall it. */
  #keepStep() {
    const { after, before } = this;
    const drift = before.currentTime - after.currentTime;
    if (after.paused ? drift !== 0 : Math.abs(drift) > LARGE_DRIFT_S) before.currentTime = after.currentTime;
    before.playbackRate = Math.abs(drift) > SMALL_DRIFT_S && !after.paused ? 1 - drift : 1;
  }

  #seek(seconds) {
    this.after.currentTime = Math.min(Math.max(seconds, 0), this.after.duration);
  }

  #toKey(direction) {
    const now = this.after.currentTime;
    const reach = this.after.duration / this.report.frames / 2;
    const beyond = this.keys.filter((time) => (time - now) * direction > reach);
    this.after.pause();
    if (beyond.length) this.#seek(direction > 0 ? beyond[0] : beyond.at(-1));
  }

  #timeline() {
    const { key_frame_indices: indices, fallback_key_frames: fellBack, frames } = this.report;
    const each = this.after.duration / frames;
    // The middle of a frame: at its start, rounding may show the previous one.
    this.keys = indices.map((index) => (index + 0.5) * each);
    this.$("#seek").max = this.after.duration;
    this.$("#ticks").classList.toggle("many", indices.length > MANY_KEYS);
    this.$("#ticks").replaceChildren(...indices.map((index) => {
      const tick = element("i");
      tick.style.left = `${(100 * index) / frames}%`;
      tick.classList.toggle("fell-back", fellBack.includes(index));
      return tick;
    }));
  }

  #summarize(seconds, photo) {
    const { frames, key_frames: keys, width, height, seconds: parts, warnings } = this.report;
    this.$("#keys-text").textContent =
      `${keys} key ${keys === 1 ? "frame" : "frames"} of ${frames} went through the network: one in ${(frames / keys).toFixed(1)}`;
    const figures = photo ? { Size: `${width} × ${height}`, Time: `${seconds.toFixed(1)} s` } : {
      Frames: frames, "Key frames": keys, Time: `${seconds.toFixed(1)} s`, Speed: `${(frames / seconds).toFixed(1)} frames/s`,
    };
    this.$("#figures").replaceChildren(...Object.entries(figures).map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }));
    const longest = Math.max(...Object.values(parts));
    this.$("#parts").replaceChildren(...Object.entries(parts).flatMap(([name, value]) => {
      const bar = element("b");
      bar.style.setProperty("--share", value / longest);
      return [element("span", name.replace("_", " ")), bar, element("span", `${value.toFixed(2)} s`)];
    }));
    this.$("#warnings").replaceChildren(...warnings.map((warning) => element("li", warning)));
  }

  #alone() {
    this.$("#compare").classList.add("alone");
    this.$("#unplayable").hidden = false;
  }
}
