// One frame at the three matches, before the run. The strength is an opacity: a run blends in the same way.

const clockOf = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

export class Preview {
  /** Show the matches of `form` in `stage`; `onError` takes an Error. */
  constructor(stage, form, matches, onError) {
    this.stage = stage;
    this.form = form;
    this.onError = onError;
    this.shown = ""; // which files and which moment the pictures show
    this.slider = stage.querySelector("#moment input");
    this.variants = new Map(matches.map((name) => [name, this.#variant(name)]));
    stage.querySelector("#matches").replaceChildren(...this.variants.values());
    this.slider.addEventListener("input", () => this.#showMoment());
    this.slider.addEventListener("change", () => this.#load());
    form.addEventListener("input", () => this.#reflect());
    this.#reflect();
  }

  /** Show a frame of the files, unless it is shown already. */
  show(source, style, uploads) {
    const key = `${uploads} ${source.name} ${style.name}`;
    if (this.key === key) return;
    this.key = key;
    const list = this.stage.querySelector("#matches");
    list.style.setProperty("--shape", `${source.width} / ${source.height}`);
    list.classList.toggle("tall", source.height > source.width);
    this.stage.querySelector("#moment").hidden = !source.seconds;
    this.slider.max = source.seconds ?? 0;
    this.slider.value = (source.seconds ?? 0) / 2;
    this.#showMoment();
    this.#load();
  }

  #showMoment() {
    this.stage.querySelector("#moment-shown").textContent = clockOf(+this.slider.value);
  }

  async #load() {
    const [key, at] = [this.key, this.slider.value];
    const shown = `${key} ${at}`;
    this.shown = shown;
    for (const variant of this.variants.values()) variant.classList.add("waiting");
    try {
      const original = await this.#picture("original", at);
      for (const name of this.variants.keys()) {
        const picture = await this.#picture(name, at);
        if (this.shown !== shown) return; // another frame was chosen in the meantime
        this.#fill(this.variants.get(name), original, picture);
      }
    } catch (error) {
      if (this.shown !== shown) return;
      for (const variant of this.variants.values()) variant.classList.remove("waiting");
      if (this.stage.dataset.shows === "preview") this.onError(error);
      else this.key = null; // a job began in the meantime: try again after it
    }
  }

  async #picture(name, at) {
    let reply;
    try {
      reply = await fetch(`api/preview/${name}?at=${at}`);
    } catch {
      throw new Error("The studio does not respond. Is it still running?");
    }
    if (!reply.ok) throw new Error((await reply.json()).error);
    return reply.blob();
  }

  #fill(variant, original, picture) {
    for (const [selector, blob] of [[".original", original], [".stylized", picture]]) {
      const image = variant.querySelector(selector);
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(blob);
    }
    variant.classList.remove("waiting");
  }

  #variant(name) {
    const label = document.createElement("label");
    label.className = "variant";
    label.dataset.match = name;
    const choice = Object.assign(document.createElement("input"), { type: "radio", name: "shown-match", value: name });
    choice.addEventListener("change", () => {
      this.form.elements.match.value = name;
      this.form.dispatchEvent(new Event("input", { bubbles: true }));
    });
    const pictures = document.createElement("span");
    pictures.className = "picture";
    pictures.append(...["original", "stylized"].map((which) =>
      Object.assign(document.createElement("img"), { className: which, alt: which === "stylized" ? `Stylized: ${name}` : "" })));
    const title = document.createElement("span");
    title.className = "name";
    title.textContent = name[0].toUpperCase() + name.slice(1);
    label.append(choice, pictures, title);
    return label;
  }

  #reflect() {
    const { match, strength } = Object.fromEntries(new FormData(this.form));
    this.stage.querySelector("#matches").style.setProperty("--strength", strength / 100);
    for (const [name, variant] of this.variants) variant.querySelector("input").checked = name === match;
  }
}
