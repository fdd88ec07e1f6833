// What every page shares. Pages work without it.
export const csrf = () => document.querySelector('meta[name="csrf"]').content;
