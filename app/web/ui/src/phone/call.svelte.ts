// One call: JsSIP's session, its audio and its figures, as state that a page can show.
import type { UA } from 'jssip';
import type { EndEvent, IncomingEvent, OutgoingEvent, RTCSession } from 'jssip/lib/RTCSession';
import { party } from '../lib/format';
import { callFailure, endNotice } from './cause';
import { type Quality, type Report, type Tally, quality } from './quality';
import { LevelMeter, Ringer } from './sound';

export type Phase = 'calling' | 'ringing' | 'early' | 'incoming' | 'connecting' | 'talking' | 'ended';

/** How long gathering may take once there is one candidate: the relay needs none of ours, its side is ICE-lite. */
const GATHER_MS = 150;
const METER_MS = 100;
const STATS_MS = 1000;
const TONE_MS = 160;
const GAP_MS = 70;

export class Call {
  phase = $state<Phase>('calling');
  held = $state(false);
  heldByPeer = $state(false);
  muted = $state(false);
  answeredAt = $state<number | null>(null);
  endedAt = $state<number | null>(null);
  /** Why it failed or ended early, in words. */
  error = $state<string | null>(null);
  quality = $state.raw<Quality | null>(null);
  microphoneLevel = $state(0);
  farLevel = $state(0);
  /** The keys pressed so far. */
  keys = $state('');

  #session: RTCSession | null = null;
  #microphone: MediaStream | null = null;
  #speaker = new Audio();
  #meters: { microphone?: LevelMeter; far?: LevelMeter } = {};
  #ringer = new Ringer();
  #timers: ReturnType<typeof setInterval>[] = [];
  #tally: Tally | null = null;

  constructor(
    readonly direction: 'in' | 'out',
    readonly peer: string,
    readonly uri: string,
    readonly peerName: string | null = null,
  ) {}

  /** A call that comes in. */
  static offered(session: RTCSession): Call {
    const from = session.remote_identity;
    const uri = from.uri.toString();
    const call = new Call('in', party(uri), uri, from.display_name || null);
    call.phase = 'incoming';
    call.#follow(session);
    call.#ringer.start('in');
    return call;
  }

  place(ua: UA, microphone: MediaStream) {
    this.#listen(microphone);
    try {
      const session = ua.call(this.uri, { ...MEDIA, mediaStream: microphone });
      this.#follow(session);
      if (session.connection) this.#attach(session.connection);
    } catch (error) {
      // JsSIP throws for what it cannot even try: an address it does not take, a browser without WebRTC.
      this.error = callFailure({ cause: error instanceof Error ? error.message : String(error) }, this.peer);
      this.#over();
    }
  }

  answer(microphone: MediaStream) {
    if (this.phase !== 'incoming' || !this.#session) {
      for (const track of microphone.getTracks()) track.stop();
      return;
    }
    this.#listen(microphone);
    this.phase = 'connecting';
    this.#ringer.stop();
    this.#session.answer({ ...MEDIA, mediaStream: microphone });
  }

  /** Ends, cancels or declines, whichever fits. */
  hangUp() {
    if (this.phase === 'ended') return;
    if (!this.#session || this.#session.isEnded()) return this.#over();
    if (this.phase === 'incoming') this.#session.terminate({ status_code: 603, reason_phrase: 'Decline' });
    else this.#session.terminate();
  }

  toggleHold() {
    if (this.phase !== 'talking') return;
    if (this.held) this.#session?.unhold();
    else this.#session?.hold();
  }

  toggleMute() {
    if (this.muted) this.#session?.unmute({ audio: true });
    else this.#session?.mute({ audio: true });
  }

  /** RFC 4733 by the browser; `false` when the far side takes no keys. */
  press(key: string): boolean {
    const sender = this.#session?.connection?.getSenders().find((one) => one.track?.kind === 'audio')?.dtmf;
    if (!sender?.canInsertDTMF) return false;
    // What is still waiting is kept: `insertDTMF` replaces the queue.
    sender.insertDTMF(sender.toneBuffer + key, TONE_MS, GAP_MS);
    this.keys += key;
    return true;
  }

  #follow(session: RTCSession) {
    this.#session = session;
    let gathered: ReturnType<typeof setTimeout> | undefined;
    session.on('peerconnection', ({ peerconnection }) => this.#attach(peerconnection));
    session.on('icecandidate', ({ ready }) => {
      gathered ??= setTimeout(ready, GATHER_MS);
    });
    session.on('progress', (event: IncomingEvent | OutgoingEvent) => {
      if (this.direction === 'in' || this.phase === 'talking') return;
      const early = 'response' in event && Boolean(event.response?.body);
      this.phase = early ? 'early' : 'ringing';
      if (early) this.#ringer.stop();
      else this.#ringer.start('out');
    });
    session.on('accepted', () => this.#talk());
    session.on('confirmed', () => this.#talk());
    session.on('hold', ({ originator }) => this.#hold(originator, true));
    session.on('unhold', ({ originator }) => this.#hold(originator, false));
    session.on('muted', () => (this.muted = true));
    session.on('unmuted', () => (this.muted = false));
    session.on('failed', (event) => {
      const silent = this.direction === 'in' && (event.originator === 'local' || event.cause === 'Canceled');
      if (this.direction === 'in' && event.cause === 'Canceled') this.error = missed(event);
      else this.error = silent ? null : callFailure(failure(event), this.peer);
      this.#over();
    });
    session.on('ended', (event) => {
      this.error = event.originator === 'local' ? null : endNotice(failure(event));
      this.#over();
    });
  }

  #attach(connection: RTCPeerConnection) {
    connection.addEventListener('track', ({ track, streams }) => {
      const stream = streams[0] ?? new MediaStream([track]);
      this.#speaker.srcObject = stream;
      void this.#speaker.play().catch(() => {});
      this.#meters.far?.close();
      this.#meters.far = new LevelMeter(stream);
    });
  }

  #listen(microphone: MediaStream) {
    this.#microphone = microphone;
    this.#meters.microphone = new LevelMeter(microphone);
    this.#timers.push(
      setInterval(() => {
        this.microphoneLevel = this.muted || this.held ? 0 : (this.#meters.microphone?.read() ?? 0);
        this.farLevel = this.#meters.far?.read() ?? 0;
      }, METER_MS),
      setInterval(() => void this.#measure(), STATS_MS),
    );
  }

  async #measure() {
    const connection = this.#session?.connection;
    if (!connection || connection.signalingState === 'closed') return;
    const reports: Report[] = [];
    (await connection.getStats()).forEach((report: Report) => reports.push(report));
    const measured = quality(reports, this.#tally);
    this.#tally = measured.tally;
    if (this.phase !== 'ended') this.quality = measured.quality;
  }

  #talk() {
    this.#ringer.stop();
    this.phase = 'talking';
    this.answeredAt ??= Date.now();
  }

  #hold(originator: string, held: boolean) {
    if (originator === 'local') this.held = held;
    else this.heldByPeer = held;
  }

  #over() {
    this.#ringer.stop();
    for (const timer of this.#timers) clearInterval(timer);
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#meters.microphone?.close();
    this.#meters.far?.close();
    this.#speaker.srcObject = null;
    this.microphoneLevel = this.farLevel = 0;
    this.endedAt = Date.now();
    this.phase = 'ended';
  }
}

const MEDIA = {
  mediaConstraints: { audio: true, video: false },
  pcConfig: { iceServers: [], bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' } satisfies RTCConfiguration,
};

/** Another phone of the same account may have taken it (RFC 3326). */
function missed({ message }: EndEvent): string {
  return /cause=200\b/.test(message?.getHeader?.('Reason') ?? '') ? 'Answered on another phone.' : 'Missed call.';
}

function failure({ cause, message }: EndEvent) {
  const status = message && 'status_code' in message ? message.status_code : undefined;
  const header = message?.getHeader?.('Reason');
  const reason = /text="([^"]*)"/.exec(header ?? '')?.[1];
  const phrase = message && 'reason_phrase' in message ? message.reason_phrase : undefined;
  return { cause, status, reason: reason ?? phrase };
}
