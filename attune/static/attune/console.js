// Keeps a log that is being followed at its end when a page refreshes a part of itself, unless the reader scrolled up.
(() => {
    const ends = new Map();
    const logs = () => document.querySelectorAll("pre.at-log[id]");
    const atEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    const toEnd = () => logs().forEach((log) => {
        const kept = ends.get(log.id);
        log.scrollTop = kept === undefined ? log.scrollHeight : kept;
    });

    document.addEventListener("DOMContentLoaded", toEnd);
    document.addEventListener("htmx:beforeSwap", () => {
        ends.clear();
        logs().forEach((log) => { if (!atEnd(log)) ends.set(log.id, log.scrollTop); });
    });
    document.addEventListener("htmx:afterSwap", toEnd);
})();
