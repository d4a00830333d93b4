// Keeps what a reader has scrolled to when a page refreshes a part of itself. A log that is being followed
// stays at its end, unless the reader scrolled up.
(() => {
    const ends = new Map();
    const places = new Map();
    const logs = () => document.querySelectorAll("pre.at-log[id]");
    const kept = () => document.querySelectorAll("[data-keep][id]");
    const atEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    const toEnd = () => logs().forEach((log) => {
        const end = ends.get(log.id);
        log.scrollTop = end === undefined ? log.scrollHeight : end;
    });
    const restore = () => {
        toEnd();
        kept().forEach((part) => { if (places.has(part.id)) part.scrollTo(...places.get(part.id)); });
    };

    document.addEventListener("DOMContentLoaded", toEnd);
    document.addEventListener("htmx:beforeSwap", () => {
        ends.clear();
        places.clear();
        logs().forEach((log) => { if (!atEnd(log)) ends.set(log.id, log.scrollTop); });
        kept().forEach((part) => places.set(part.id, [part.scrollLeft, part.scrollTop]));
    });
    document.addEventListener("htmx:afterSwap", restore);
})();
