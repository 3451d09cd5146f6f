// What the address says after #: a view and its parameters. "#q=12&d=d7" opens a row, "#rows&finish=error" a list.

/** The view and the parameters of an address. Anything unknown is the overview. */
export function parseHash(hash) {
  const parts = hash.replace(/^#/, "").split("&").filter((part) => part !== "");
  const params = {};
  for (const part of parts) {
    const cut = part.indexOf("=");
    if (cut > 0) params[decodePart(part.slice(0, cut))] = decodePart(part.slice(cut + 1));
  }
  if (params.q !== undefined) return { view: "query", params };
  return { view: ["queries", "rows"].includes(parts[0]) ? parts[0] : "overview", params };
}

/** The address of a view. Parameters that are empty are left out. */
export function buildHash(view, params) {
  const parts = view === "queries" || view === "rows" ? [view] : [];
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && (value !== "" || name === "q" || name === "d")) {
      parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
    }
  }
  return `#${parts.join("&")}`;
}

function decodePart(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, "%20"));
  } catch {
    return text;
  }
}
