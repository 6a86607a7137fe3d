"use strict";
// The page works without this script as a plain list. It adds sorting, searching and the matrix, and never makes HTML of a
// text: what it shows are copies of elements that are in the page.
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const lower = (element) => element.textContent.toLowerCase();
  const eventsOf = (element) => element.dataset.events.split(" ");

  // A pattern covers a name that is written in full: "*" is within one segment, "**" is one or more of them.
  const quoted = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  const glob = (text) => text.split("/")
    .map((part) => part === "**" ? "[^/]+(?:/[^/]+)*" : part.split("*").map(quoted).join("[^/]*")).join("/");
  const repoCovers = (pattern) => new RegExp("^" + glob(pattern) + "$");
  const secretCovers = (pattern) => {
    const [vault, name, ...key] = pattern.split("/");
    const keys = key.length ? "(?:/" + glob(key.join("/")) + ")?" : "(?:/.*)?";
    return new RegExp("^" + quoted(vault) + "/" + glob(name.split("@")[0]) + "(?:@[^/]*)?" + keys + "$");
  };
  const compiled = (make, cache = new Map()) => (pattern) => {
    if (!cache.has(pattern)) cache.set(pattern, make(pattern));
    return cache.get(pattern);
  };
  const covers = { repo: compiled(repoCovers), secret: compiled(secretCovers) };

  // A word of the search finds what holds it, and what covers it.
  const finder = (word) => {
    const known = new Map();
    const covered = (kind, pattern) => {
      const key = kind + pattern;
      if (!known.has(key)) known.set(key, word.includes("/") && covers[kind](pattern).test(word));
      return known.get(key);
    };
    return {
      text: (text) => text.includes(word),
      head: (head) => head.text.includes(word) || head.patterns.some((p) => covered(head.kind, p)),
    };
  };
  const headOf = (kind, element, within) => ({
    element, kind, text: lower(element), patterns: within.map((e) => e.dataset[kind].toLowerCase()), shown: true,
  });

  // The list.
  const body = byId("lines").querySelector("tbody");
  const lines = all("tr", body).map((row) => ({
    row, text: lower(row), events: eventsOf(row), shown: true, keys: [],
    heads: [headOf("repo", row.cells[0], all("[data-repo]", row)), headOf("secret", row.cells[1], [row.cells[1]])],
  }));
  const { compare } = new Intl.Collator("en", { numeric: true });
  const titles = all("#lines thead th");
  const sort = (title, column) => {
    const down = title.getAttribute("aria-sort") === "ascending";
    for (const other of titles) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const line of lines) line.keys[column] ??= line.row.cells[column].textContent.trim();
    lines.sort((a, b) => (down ? -1 : 1) * compare(a.keys[column], b.keys[column]));
    const table = body.parentElement;
    body.remove(); // or each row would be placed anew by itself
    body.append(...lines.map((line) => line.row));
    table.append(body);
  };
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title.textContent;
    button.addEventListener("click", () => sort(title, column));
    title.replaceChildren(button);
  });

  // The matrix: heads of rows and columns, and the cells that give something.
  const matrix = byId("matrix");
  const rows = matrix ? all("tbody th", matrix).map((th) => headOf("repo", th, [th])) : [];
  const columns = matrix ? all("thead tr:nth-child(2) th", matrix).map((th) => headOf("secret", th, [th])) : [];
  const vaults = matrix ? all(".vault", matrix).map((th) => ({ th, span: th.colSpan, text: lower(th) })) : [];
  const gifts = all("#gifts template").map((template) => ({
    template, text: template.content.textContent.toLowerCase(), events: eventsOf(template),
  }));
  const cells = [];
  const grid = rows.map((row, r) => {
    const found = new Map();
    row.tr = row.element.parentElement;
    for (const button of all("button", row.tr)) {
      const c = button.parentElement.cellIndex - 1;
      const cell = { button, r, c, gifts: button.dataset.gifts.split(" ").map((id) => gifts[id]), on: true };
      button.cell = cell;
      found.set(c, cell);
      cells.push(cell);
    }
    return found;
  });
  let column = 0;
  for (const vault of vaults) {
    vault.columns = columns.slice(column, column += vault.span);
    for (const head of vault.columns) head.text = vault.text + "/" + head.text;
  }

  const showColumns = () => {
    columns.forEach((head, c) => {
      if (head.wanted === head.shown) return;
      head.shown = head.wanted;
      head.element.hidden = !head.shown;
      for (const row of rows) row.tr.cells[c + 1].hidden = !head.shown;
    });
    for (const { th, columns: own } of vaults) {
      const shown = own.filter((head) => head.shown).length;
      th.hidden = shown === 0;
      th.colSpan = Math.max(1, shown);
    }
  };
  const filterMatrix = (finders, events) => {
    for (const head of [...rows, ...columns]) {
      head.hits = finders.map((f) => f.head(head));
      head.wanted = false;
    }
    for (const gift of gifts) {
      gift.hits = finders.map((f) => f.text(gift.text));
      gift.on = gift.events.some((event) => events.has(event));
    }
    for (const cell of cells) {
      const row = rows[cell.r], head = columns[cell.c];
      cell.on = cell.gifts.some((gift) => gift.on && gift.hits.every((hit, i) => hit || row.hits[i] || head.hits[i]));
      cell.button.classList.toggle("off", !cell.on);
      if (cell.on) row.wanted = head.wanted = true;
    }
    for (const row of rows) row.tr.hidden = !row.wanted;
    more(matrix, rows.filter((row) => row.wanted).length);
    showColumns();
    for (const mark of all(".mark", matrix)) mark.hidden = !events.has(mark.dataset.event);
    rove(cells.find((cell) => cell.on));
  };

  // The style sheet shows no more than the first rows of a table, until all are wanted.
  const more = (within, count) => {
    const note = within.querySelector(".more");
    note.hidden = count <= Number(note.dataset.first) || within.classList.contains("all");
  };
  for (const note of all(".more")) {
    note.querySelector("button").addEventListener("click", () => {
      note.closest("section").classList.add("all");
      note.hidden = true;
    });
  }

  // What is asked for, and how much of it there is.
  const search = byId("search"), only = byId("only"), boxes = all("input[name=event]"), status = byId("status");
  const everything = status.textContent;
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean), finders = words.map(finder);
    const events = new Set(only.checked ? ["pull_request"] : boxes.filter((box) => box.checked).map((box) => box.value));
    let count = 0;
    for (const line of lines) {
      const shown = line.events.some((event) => events.has(event)) &&
        finders.every((f) => f.text(line.text) || line.heads.some((head) => f.head(head)));
      count += shown;
      if (shown !== line.shown) line.row.hidden = !(line.shown = shown);
    }
    more(byId("lines"), count);
    if (matrix) filterMatrix(finders, events);
    for (const box of boxes) box.disabled = only.checked;
    byId("nothing").hidden = count > 0 || lines.length === 0;
    const what = [];
    if (words.length) what.push("“" + words.join(" ") + "”");
    if (events.size < boxes.length) what.push("events: " + ([...events].join(", ") || "none"));
    const narrowed = what.length ? " · only " + what.join(", ") : "";
    const some = (list) => list.filter((head) => head.wanted).length + " of " + list.length;
    const size = matrix ? " · matrix: " + some(rows) + " rows, " + some(columns) + " columns" : "";
    status.textContent = narrowed ? count + " of " + lines.length + " lines" + size + narrowed : everything;
  };
  let due = 0;
  search.addEventListener("input", () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(filter);
  });
  for (const box of [...boxes, only]) box.addEventListener("change", filter);

  // A cell in full: beside the pointer or the focus, and in the pane once it is chosen.
  const tip = byId("tip"), detail = byId("detail");
  let chosen = null, current = null;
  const copies = (cell) => cell.gifts.map((gift) => gift.template.content.cloneNode(true));
  const rove = (cell) => {
    if (current) current.button.tabIndex = -1;
    current = cell;
    if (cell) cell.button.tabIndex = 0;
  };
  const place = (cell) => {
    const at = cell.button.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const below = at.bottom + 6, above = at.top - 6 - size.height;
    tip.style.left = Math.max(8, Math.min(at.left, innerWidth - size.width - 8)) + "px";
    tip.style.top = (below + size.height > innerHeight && above > 0 ? above : below) + "px";
  };
  const hint = (cell) => {
    tip.replaceChildren(...copies(cell));
    tip.hidden = false;
    place(cell);
    cell.button.setAttribute("aria-describedby", "tip");
  };
  const unhint = () => {
    tip.hidden = true;
    matrix.querySelector("[aria-describedby=tip]")?.removeAttribute("aria-describedby");
  };
  const choose = (cell) => {
    chosen?.button.removeAttribute("aria-expanded");
    chosen = cell;
    detail.hidden = !cell;
    if (!cell) return;
    cell.button.setAttribute("aria-expanded", "true");
    const secret = columns[cell.c].element;
    detail.querySelector("h2").textContent = rows[cell.r].element.textContent + " ← " + secret.dataset.secret +
      (secret.querySelector("i") ? " (whole)" : "");
    detail.querySelector("div").replaceChildren(...copies(cell));
  };
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const neighbour = (cell, [down, right]) => {
    for (let r = cell.r + down, c = cell.c + right; r >= 0 && r < rows.length && c >= 0 && c < columns.length; r += down, c += right) {
      if (grid[r].get(c)?.on && rows[r].tr.checkVisibility()) return grid[r].get(c);
    }
    return null;
  };
  if (matrix) {
    const cellOf = (event) => event.target.closest("td button")?.cell;
    for (const on of ["mouseover", "focusin"]) {
      matrix.addEventListener(on, (event) => cellOf(event) ? hint(cellOf(event)) : unhint());
    }
    for (const off of ["mouseleave", "focusout"]) matrix.addEventListener(off, unhint);
    matrix.querySelector(".scroll").addEventListener("scroll", () => {
      const { cell } = document.activeElement; // which may have scrolled into view because the focus came to it
      if (cell && !tip.hidden) place(cell);
      else unhint();
    }, { passive: true });
    const corner = matrix.querySelector(".corner");
    new ResizeObserver(() => matrix.style.setProperty("--first", corner.offsetWidth + "px")).observe(corner);
    matrix.addEventListener("click", (event) => {
      const cell = cellOf(event);
      if (!cell) return;
      rove(cell);
      choose(cell === chosen ? null : cell);
      unhint();
    });
    matrix.addEventListener("keydown", (event) => {
      const cell = cellOf(event), next = cell && steps[event.key] && neighbour(cell, steps[event.key]);
      if (cell && steps[event.key]) event.preventDefault();
      if (!next) return;
      rove(next);
      next.button.focus();
    });
    byId("close").addEventListener("click", () => {
      const { button } = chosen;
      choose(null);
      button.focus();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (tip.hidden) choose(null);
      unhint();
    });
  }

  // On paper the matrix is made to fit, or left out where nobody could read it: the list follows it anyway.
  const paper = 980, legible = 0.45;
  addEventListener("beforeprint", () => {
    if (!matrix || matrix.hidden) return;
    const table = matrix.querySelector("table"), fits = Math.min(1, paper / table.offsetWidth);
    table.style.zoom = fits;
    matrix.classList.toggle("unprinted", fits < legible);
  });
  addEventListener("afterprint", () => {
    if (matrix) matrix.querySelector("table").style.zoom = "";
  });

  // Which of the two is shown; page.html#list opens the list.
  const views = all("[data-view]");
  const show = (view) => {
    for (const button of views) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    byId("lines").hidden = view !== "list";
    if (matrix) matrix.hidden = view !== "matrix";
    if (matrix) unhint();
  };
  for (const button of views) button.addEventListener("click", () => show(button.dataset.view));
  byId("tools").hidden = lines.length === 0;
  filter();
  show(matrix && location.hash !== "#list" ? "matrix" : "list");
})();
