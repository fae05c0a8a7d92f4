// Which finished calls: the same words in the page's address, in the API's and in the list's.

export const FILTERS = ["agent", "outcome", "fault", "caller", "reason", "marked", "since", "until"];

/** The filters of an address → {name: value}; what is empty is left out. */
export function readFilters(address) {
  return Object.fromEntries(FILTERS.map((name) => [name, address.get(name)]).filter(([, value]) => value));
}

/** The list of the finished calls that these filters choose. */
export function listAddress(filters) {
  return `/?${new URLSearchParams({ show: "ended", ...filters })}`;
}

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const said = (text) => DAY.format(new Date(/^-?\d+$/.test(text) ? Number(text) : text));

/** As people say it. */
export function filterText(filters) {
  const parts = Object.entries(filters).map(([name, value]) => {
    if (name === "since" || name === "until") {
      const moment = Number.isNaN(Date.parse(value)) && !/^-?\d+$/.test(value) ? value : said(value);
      return `${name === "since" ? "from" : "before"} ${moment}`;
    }
    if (name === "marked") return value === "true" ? "marked" : "not marked";
    return `${name} ${value.replaceAll("_", " ")}`;
  });
  return parts.join(" · ");
}
