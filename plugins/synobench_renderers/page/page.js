"use strict";
// What a reader may do beyond reading: filter, sort, keep a view in the address, and ask a point for its figures.
(() => {
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const one = (what, within = document) => within.querySelector(what);
  const form = one("#filters"), count = one("#count"), tip = one("#tip");
  const boards = all("table.board"), networks = all("section.network");
  const heads = boards.length ? all("thead th", boards[0]).map((th) => th.textContent) : [];
  const rows = all("table.board tbody tr"), texts = new Map(), points = new Map();
  const boxes = all(".columns input"), names = ["family", "data", "network", "target", "q"];
  const cell = (row, head) => row.cells[heads.indexOf(head)].textContent;
  let sorting = "", late = 0;

  const textOf = (row) => {
    if (!texts.has(row)) texts.set(row, [...row.cells].map((c) => c.textContent).join(" ").toLowerCase());
    return texts.get(row);
  };

  // ---- filters: a row is shown where all of them hold; the dense control stays beside whatever is shown of its network
  const fits = (row, f) => (!f.family || cell(row, "family") === f.family) && (!f.target || cell(row, "target") === f.target)
    && f.q.every((word) => textOf(row).includes(word));
  const stop = (svg, mark) => { for (const m of all("use", svg)) m.setAttribute("tabindex", m === mark ? "0" : "-1"); };
  const filter = () => {
    const f = Object.fromEntries(names.map((name) => [name, form.elements[name].value]));
    const narrow = f.family || f.target || f.q.trim();
    f.q = f.q.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, whole = 0;
    for (const section of networks) {
      const here = (!f.data || section.dataset.data === f.data) && (!f.network || section.dataset.network === f.network);
      const mine = all("table.board tbody tr", section), entries = mine.filter((row) => !row.classList.contains("control"));
      const held = new Set(here ? entries.filter((row) => fits(row, f)) : []);
      const open = here && (!narrow || held.size > 0);
      for (const row of mine) {
        row.hidden = !(open && (held.has(row) || row.classList.contains("control")));
        for (const point of points.get(row.id) || []) for (const part of [point, point.previousElementSibling]) part.toggleAttribute("hidden", row.hidden);
      }
      for (const line of all(".chart .line", section)) line.toggleAttribute("hidden", one("use[hidden]", line.parentNode) !== null);
      section.hidden = !open;
      shown += held.size;
      whole += entries.length;
    }
    for (const svg of all("svg.chart")) stop(svg, one("use[tabindex='0']:not([hidden])", svg) || one("use:not([hidden])", svg));
    count.textContent = `${shown} of ${whole} rows`;
  };

  // ---- sorting: figures by value, words by the alphabet, gaps last
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const scales = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
  const valueOf = (text) => {
    if (!text || text === "\u2013") return null;
    const told = /^([+\u2212-]?)(\d[\d,]*\.?\d*)(?: ([kMGT])(?![a-z]))?(?![\w-])/.exec(text);
    if (!told) return text;
    return (told[1] && told[1] !== "+" ? -1 : 1) * Number(told[2].replaceAll(",", "")) * (scales[told[3]] || 1);
  };
  const before = (a, b, way) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return way * (typeof a === "number" && typeof b === "number" ? a - b : compare(String(a), String(b)));
  };
  const order = () => {
    const way = sorting.startsWith("-") ? -1 : 1, place = heads.indexOf(sorting.replace(/^-/, ""));
    for (const table of boards) {
      const body = table.tBodies[0], keys = new Map();
      const held = [...body.rows].sort((a, b) => a.id.slice(1) - b.id.slice(1));
      if (place >= 0) {
        for (const row of held) keys.set(row, valueOf(row.cells[place].textContent));
        held.sort((a, b) => before(keys.get(a), keys.get(b), way));
      }
      body.append(...held);
      table.classList.toggle("sorted", place >= 0);
      all("thead th", table).forEach((th, i) => {
        if (i === place) th.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
        else th.removeAttribute("aria-sort");
      });
    }
  };
  const figures = (place) => boards.some((t) => [...t.tBodies[0].rows].some((r) => typeof valueOf(r.cells[place].textContent) === "number"));
  const press = (place) => {
    const head = heads[place], first = figures(place) ? `-${head}` : head, second = first === head ? `-${head}` : head;
    sorting = sorting === first ? second : sorting === second ? "" : first;
    order();
    save();
  };

  // ---- the view in the address: only what a reader changed
  const save = () => {
    const told = new URLSearchParams();
    for (const name of names) if (form.elements[name].value) told.append(name, form.elements[name].value);
    if (sorting) told.append("sort", sorting);
    for (const box of boxes) if (box.checked !== box.defaultChecked) told.append(box.checked ? "show" : "hide", heads[box.id.slice(1) - 1]);
    const place = told.size ? `#${told}` : " ";
    if (location.hash.includes("=") || told.size) history.replaceState(null, "", place.trim() || location.pathname + location.search);
  };
  const load = () => {
    if (location.hash && !location.hash.includes("=")) return;
    const told = new URLSearchParams(location.hash.slice(1));
    for (const name of names) {
      form.elements[name].value = told.get(name) || "";
      if (form.elements[name].value !== (told.get(name) || "")) form.elements[name].value = "";
    }
    for (const box of boxes) {
      const head = heads[box.id.slice(1) - 1];
      box.checked = told.getAll("show").includes(head) || (box.defaultChecked && !told.getAll("hide").includes(head));
    }
    sorting = heads.includes((told.get("sort") || "").replace(/^-/, "")) ? told.get("sort") : "";
    order();
    filter();
  };

  // ---- points: each says its figures under the pointer and under the keyboard
  const ring = (svg) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    made.setAttribute("class", "ring");
    made.setAttribute("r", "8");
    made.setAttribute("visibility", "hidden");
    svg.append(made);
    return made;
  };
  const charts = all("svg.chart").map((svg) => {
    const marks = all("use", svg), circle = ring(svg);
    let now = null;
    const leave = () => {
      if (now) document.getElementById(`r${now.dataset.r}`).classList.remove("lit");
      now = null;
      circle.setAttribute("visibility", "hidden");
      tip.hidden = true;
    };
    const tell = (mark) => {
      if (mark === now) return;
      leave();
      now = mark;
      document.getElementById(`r${mark.dataset.r}`).classList.add("lit");
      circle.setAttribute("cx", mark.getAttribute("x"));
      circle.setAttribute("cy", mark.getAttribute("y"));
      circle.setAttribute("visibility", "visible");
      tip.textContent = mark.dataset.told;
      tip.hidden = false;
      stand();
    };
    const stand = () => {
      if (!now) return;
      const at = circle.getBoundingClientRect(), box = tip.getBoundingClientRect();
      const left = at.right + 8 + box.width > document.documentElement.clientWidth ? at.left - 8 - box.width : at.right + 8;
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.max(4, at.top - 8 - box.height < 4 ? at.bottom + 8 : at.top - 8 - box.height)}px`;
    };
    const seen = () => marks.filter((mark) => !mark.hasAttribute("hidden"));
    const near = (event) => {
      const frame = svg.getBoundingClientRect(), size = svg.viewBox.baseVal.width / frame.width;
      const x = (event.clientX - frame.left) * size, y = (event.clientY - frame.top) * size;
      let best = null, least = 18;
      for (const mark of seen()) {
        const far = Math.hypot(mark.getAttribute("x") - x, mark.getAttribute("y") - y);
        if (far < least) [best, least] = [mark, far];
      }
      return best;
    };
    for (const mark of marks) {
      const title = one("title", mark);
      mark.dataset.told = title.textContent;
      title.remove();
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", mark.dataset.told.replaceAll("\n", ", "));
      mark.setAttribute("tabindex", "-1");
      mark.addEventListener("focus", () => tell(mark));
      mark.addEventListener("blur", leave);
      const row = `r${mark.dataset.r}`;
      points.set(row, [...(points.get(row) || []), mark]);
    }
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. ${marks.length} points: arrow keys go from one to the next.`);
    svg.addEventListener("pointermove", (event) => { const mark = near(event); if (mark) tell(mark); else leave(); });
    svg.addEventListener("pointerdown", (event) => { const mark = near(event); if (mark) tell(mark); else leave(); });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("keydown", (event) => {
      const held = seen(), place = held.indexOf(document.activeElement);
      const goal = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: held.length - 1 }[event.key];
      if (event.key === "Escape") leave();
      if (goal === undefined || place < 0) return;
      event.preventDefault();
      const next = held[Math.min(held.length - 1, Math.max(0, goal))];
      stop(svg, next);
      next.focus();
    });
    return stand;
  });
  addEventListener("scroll", () => charts.forEach((stand) => stand()), { passive: true });

  // ---- the rows that are shown, as CSV
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const spare = (text) => (/^[=+@\t\r]|^-(?!\d)/.test(text) && !/^\+[\d.]/.test(text) ? `'${text}` : text);
  const take = () => {
    const lines = [["data", "network", ...heads]];
    for (const row of rows) {
      const home = row.closest("section").dataset;
      if (!row.hidden) lines.push([home.data, home.network, ...[...row.cells].map((c) => c.textContent)]);
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map((t) => quoted(spare(t))).join(",")).join("\n"), "\n"], { type: "text/csv" }));
    link.download = "rows.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1e4);
  };

  // ---- set up
  for (const table of boards) all("thead th", table).forEach((th, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    button.addEventListener("click", () => press(place));
    th.replaceChildren(button);
  });
  const theme = (() => { try { return localStorage; } catch { return null; } })();
  const chosen = theme && one(`#theme-${["light", "dark"].find((name) => name === theme.getItem("synobench-theme")) || "auto"}`);
  if (chosen) chosen.checked = true;
  for (const radio of all(".theme input")) radio.addEventListener("change", () => theme && theme.setItem("synobench-theme", radio.value));
  form.addEventListener("submit", (event) => event.preventDefault());
  const soon = () => { clearTimeout(late); late = setTimeout(() => { filter(); save(); }, 80); };
  for (const kind of ["input", "change"]) form.addEventListener(kind, soon);
  form.addEventListener("reset", () => setTimeout(() => { filter(); save(); }));
  one("#export").addEventListener("click", take);
  for (const box of boxes) box.addEventListener("change", save);
  addEventListener("hashchange", load);
  form.hidden = !boards.length;
  load();
})();
