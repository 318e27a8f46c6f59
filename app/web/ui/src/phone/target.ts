// What is typed into the dial field, as an address to call. Pure.

/** The URI to call, or `null` for text that names nobody. `domain` completes a bare name or number. */
export function target(text: string, domain: string): string | null {
  const typed = text.trim().replace(/^sips?:/i, '');
  if (typed === '') return null;
  const at = typed.lastIndexOf('@');
  const [name, host] = at < 0 ? [typed, domain] : [typed.slice(0, at), typed.slice(at + 1)];
  const user = isNumber(name) ? name.replaceAll(/[\s().\-/]/g, '') : name.trim();
  if (user === '' || !/^(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?$/i.test(host)) return null;
  if (/[\s<>"]/.test(user)) return null;
  return `sip:${escape(user)}@${host}`;
}

/** `+49 (89) 123-4`, `*43`, `12#`: written with the signs that people put between digits. */
function isNumber(text: string): boolean {
  return /^[+]?[\d*#\s().\-/]+$/.test(text);
}

/** RFC 3261 §25.1: unreserved and user-unreserved stay, the rest is percent-encoded. */
function escape(user: string): string {
  return encodeURIComponent(user).replaceAll(/%(26|3D|2B|24|2C|3B|3F|2F)/gi, decodeURIComponent);
}
