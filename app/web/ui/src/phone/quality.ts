// How the call goes, from `RTCPeerConnection.getStats()`. Pure: reports in, figures out.
import { type Grade, grade } from '../lib/format';

/** One entry of a stats report; browsers differ in what they fill in. */
export interface Report {
  id: string;
  type: string;
  [field: string]: unknown;
}

export interface Quality {
  codec: string | null;
  packetsSent: number;
  packetsReceived: number;
  packetsLost: number;
  /** Percent of what was sent in the last interval. */
  lossPercent: number;
  jitterMs: number;
  rttMs: number | null;
  /** Time a packet waits in the jitter buffer, mean of the last interval. */
  bufferMs: number | null;
  /** Energy heard so far; tests use it to tell sound from silence. */
  energyReceived: number;
  energySent: number;
  concealedMs: number;
  dtls: string | null;
  srtp: string | null;
  grade: Grade;
}

/** The figures of now; `before` gives the interval for those that are differences. */
export function quality(reports: Report[], before: Tally | null): { quality: Quality; tally: Tally } {
  const inbound = audio(reports, 'inbound-rtp');
  const outbound = audio(reports, 'outbound-rtp');
  const tally: Tally = {
    received: number(inbound, 'packetsReceived') ?? 0,
    lost: number(inbound, 'packetsLost') ?? 0,
    bufferDelay: number(inbound, 'jitterBufferDelay') ?? 0,
    bufferCount: number(inbound, 'jitterBufferEmittedCount') ?? 0,
  };
  const last = before ?? { received: 0, lost: 0, bufferDelay: 0, bufferCount: 0 };
  const lost = Math.max(0, tally.lost - last.lost);
  const expected = lost + Math.max(0, tally.received - last.received);
  const lossPercent = expected > 0 ? (100 * lost) / expected : 0;
  const played = tally.bufferCount - last.bufferCount;
  const jitterMs = 1000 * (number(inbound, 'jitter') ?? 0);
  const rttMs = roundTrip(reports);
  const codec = reports.find((report) => report.id === (inbound ?? outbound)?.codecId);
  const transport = reports.find((report) => report.type === 'transport');
  return {
    tally,
    quality: {
      codec: codecName(codec),
      packetsSent: number(outbound, 'packetsSent') ?? 0,
      packetsReceived: tally.received,
      packetsLost: tally.lost,
      lossPercent,
      jitterMs,
      rttMs,
      bufferMs: played > 0 ? (1000 * (tally.bufferDelay - last.bufferDelay)) / played : null,
      energyReceived: number(inbound, 'totalAudioEnergy') ?? 0,
      energySent: number(audio(reports, 'media-source'), 'totalAudioEnergy') ?? 0,
      concealedMs: (number(inbound, 'concealedSamples') ?? 0) / 48,
      dtls: text(transport, 'dtlsState'),
      srtp: text(transport, 'srtpCipher'),
      grade: grade(lossPercent, jitterMs, rttMs),
    },
  };
}

/** What the next interval is measured from. */
export interface Tally {
  received: number;
  lost: number;
  bufferDelay: number;
  bufferCount: number;
}

function audio(reports: Report[], type: string): Report | undefined {
  return reports.find((report) => report.type === type && report.kind === 'audio');
}

/** By RTCP when the far side reports, else by the path's connectivity checks. */
function roundTrip(reports: Report[]): number | null {
  const rtcp = number(audio(reports, 'remote-inbound-rtp'), 'roundTripTime');
  const pair = reports.find((report) => report.type === 'candidate-pair' && report.nominated === true);
  const seconds = rtcp ?? number(pair, 'currentRoundTripTime');
  return seconds === undefined ? null : seconds * 1000;
}

/** `audio/opus` at 48000 as `Opus 48 kHz`. */
function codecName(report: Report | undefined): string | null {
  const mime = text(report, 'mimeType')?.split('/')[1];
  if (!mime) return null;
  const known: { [name: string]: string } = { opus: 'Opus', pcma: 'G.711 A-law', pcmu: 'G.711 µ-law', g722: 'G.722' };
  const clock = number(report, 'clockRate');
  const rate = mime.toLowerCase() === 'opus' && clock ? ` ${clock / 1000} kHz` : '';
  return (known[mime.toLowerCase()] ?? mime) + rate;
}

function number(report: Report | undefined, field: string): number | undefined {
  const value = report?.[field];
  return typeof value === 'number' ? value : undefined;
}

function text(report: Report | undefined, field: string): string | null {
  const value = report?.[field];
  return typeof value === 'string' ? value : null;
}
