// Numbers and names as people read them. Pure.
import type { MediaQuality, Record } from './api-types';

/** `3:07`, `1:02:33`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** `in 4 min`, `in 50 s`, `now`. */
export function until(at: number, now: number): string {
  const seconds = Math.round((at - now) / 1000);
  if (seconds <= 0) return 'now';
  if (seconds < 90) return `in ${seconds} s`;
  if (seconds < 5400) return `in ${Math.round(seconds / 60)} min`;
  return `in ${Math.round(seconds / 3600)} h`;
}

/** Today the time alone, before that with the date. */
export function when(at: number, now: number): string {
  const date = new Date(at);
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.toLocaleDateString([], { day: 'numeric', month: 'short', year: 'numeric' })}, ${time}`;
}

/** `sip:alice@example.com;x=y` as `alice@example.com`. */
export function bare(uri: string): string {
  return decode((uri.replace(/^<|>.*$/g, '').replace(/^sips?:/i, '').split(/[;?]/)[0] ?? '').trim());
}

/** The part people know each other by: `alice`. */
export function party(uri: string): string {
  return bare(uri).split('@')[0] ?? '';
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const CAUSES: { [cause: string]: string } = {
  bye: 'Completed',
  busy: 'Busy',
  cancelled: 'Cancelled',
  declined: 'Declined',
  'no-answer': 'No answer',
  'not-found': 'Unknown number',
  unavailable: 'Not reachable',
  'media-silence': 'Audio fell silent',
  'session-expired': 'A phone vanished',
  'no-common-media': 'No common audio',
  failed: 'Failed',
  'server-restart': 'Server restarted',
  'hung-up': 'Ended by the server',
  administrator: 'Ended by an administrator',
};

/** What a final status says where the cause says no more than that the call failed. */
const STATUSES: { [status: number]: string } = {
  403: 'Not allowed',
  404: 'Unknown number',
  410: 'Unknown number',
  480: 'Not reachable',
  486: 'Busy',
  488: 'No common audio',
  503: 'Server overloaded',
  600: 'Busy',
  603: 'Declined',
  604: 'Unknown number',
  606: 'No common audio',
};

/** A record's cause in words; one that is not known is shown as it is. */
export function cause(word: string | null, status: number | null = null): string {
  if (!word) return 'In progress';
  if (word === 'failed' || word === 'no-answer') {
    const told = STATUSES[status ?? 0];
    if (told) return told;
  }
  const known = CAUSES[word.toLowerCase()];
  if (known) return known;
  const text = word.replaceAll(/[-_]/g, ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Q.850 causes that people at a console meet, as the recommendation calls them. */
const Q850: { [cause: number]: string } = {
  1: 'unallocated number',
  2: 'no route to network',
  3: 'no route to destination',
  16: 'normal clearing',
  17: 'user busy',
  18: 'no user responding',
  19: 'no answer from user',
  20: 'subscriber absent',
  21: 'call rejected',
  22: 'number changed',
  27: 'destination out of order',
  28: 'invalid number format',
  31: 'normal, unspecified',
  34: 'no circuit available',
  38: 'network out of order',
  41: 'temporary failure',
  42: 'switching equipment congestion',
  47: 'resource unavailable',
  57: 'bearer capability not authorised',
  65: 'bearer capability not implemented',
  79: 'service not implemented',
  88: 'incompatible destination',
  102: 'recovery on timer expiry',
  111: 'protocol error',
  127: 'interworking',
};

/** A Q.850 cause with its name where it is a known one; `null` where none was named or meant. */
export function q850(cause: number | null): string | null {
  if (cause === null) return null;
  const name = Q850[cause];
  return name ? `${cause} (${name})` : `${cause}`;
}

/** Whose doing a call's end was; `null` while it goes on, and where nobody knows. */
export function endedBy(who: string | null): string | null {
  if (who === null) return null;
  const known: { [who: string]: string } = { caller: 'the caller', callee: 'the callee', server: 'the server' };
  return known[who] ?? who;
}

export type Grade = 'good' | 'fair' | 'poor';

/** How a path with these losses feels; the limits are those at which Opus and G.711 begin to suffer. */
export function grade(lossPercent: number, jitterMs: number, rttMs: number | null = null): Grade {
  if (lossPercent > 5 || jitterMs > 60 || (rttMs ?? 0) > 500) return 'poor';
  if (lossPercent > 1 || jitterMs > 25 || (rttMs ?? 0) > 250) return 'fair';
  return 'good';
}

/** Loss in percent of what was sent. */
export function loss(media: MediaQuality): number {
  const sent = media.packets + media.lost;
  return sent > 0 ? (100 * media.lost) / sent : 0;
}

/** The worse of a call's two directions; `null` when neither was measured. */
export function quality(record: Record): { grade: Grade; loss: number; jitter: number } | null {
  const sides = [record.caller_media, record.callee_media].filter((side) => side !== null);
  if (sides.length === 0) return null;
  const worst = { loss: Math.max(...sides.map(loss)), jitter: Math.max(...sides.map((s) => s.jitter_ms)) };
  return { ...worst, grade: grade(worst.loss, worst.jitter) };
}

/** `0.4 %`, `12 %`. */
export function percent(value: number): string {
  return `${value.toFixed(value < 10 && value > 0 ? 1 : 0)} %`;
}
