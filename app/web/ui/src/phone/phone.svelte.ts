// The web phone: one account, one call at a time, SIP over WSS by JsSIP. Lives as long as the page, so that a call
// survives a look at the console.
import { UA, WebSocketInterface, debug } from 'jssip';
import type { RTCSessionEvent } from 'jssip/lib/UA';
import { ApiError, api, explain } from '../lib/api';
import type { PhoneSession } from '../lib/api-types';
import { bare, party } from '../lib/format';
import { Call } from './call.svelte';
import { microphoneFailure, registrationFailure } from './cause';
import type { Quality } from './quality';
import { target } from './target';

export type Registration = 'off' | 'connecting' | 'registered' | 'failed';

/** New tokens are fetched this long before the old one ends. */
const TOKEN_MARGIN_MS = 60_000;
const RETRY_MS = 10_000;

class Phone {
  account = $state.raw<PhoneSession | null>(null);
  registration = $state<Registration>('off');
  /** Why it is not registered, or why the last call was none. */
  notice = $state<string | null>(null);
  /** The call going on, or the one just over until it is dismissed. */
  call = $state.raw<Call | null>(null);

  #ua: UA | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #starting = false;

  get domain(): string {
    return this.account ? this.account.aor.slice(this.account.aor.lastIndexOf('@') + 1) : '';
  }

  get busy(): boolean {
    return this.call !== null && this.call.phase !== 'ended';
  }

  /** Registers `owner`'s phone, unless it is already. */
  async start(owner: string) {
    // Someone else signed in; a call of the one before ends first.
    if (this.#ua && !this.busy && bare(this.account?.aor ?? '') !== owner) this.stop();
    if (this.#ua || this.#starting) return;
    this.#starting = true;
    this.registration = 'connecting';
    this.notice = null;
    try {
      const account = await api.phoneSession();
      this.account = account;
      this.#ua = this.#connect(account);
      this.#renewAt(account.expires_at_ms);
    } catch (error) {
      this.registration = 'failed';
      this.notice = explain(error);
      const later = error instanceof ApiError && (error.status === 0 || error.status >= 500);
      if (later) this.#timer = setTimeout(() => void this.start(owner), RETRY_MS);
    } finally {
      this.#starting = false;
    }
  }

  stop() {
    clearTimeout(this.#timer);
    // Nothing to stop: touching the state would only wake who watches it.
    if (this.registration === 'off') return;
    this.call?.hangUp();
    this.#ua?.stop();
    this.#ua = null;
    this.account = null;
    this.registration = 'off';
    this.notice = null;
    this.call = null;
  }

  async dial(text: string) {
    if (this.busy || !this.#ua) return;
    const uri = target(text, this.domain);
    if (!uri) {
      this.notice = `“${text.trim()}” is no name, number or address.`;
      return;
    }
    this.notice = null;
    const call = new Call('out', party(uri), uri);
    this.call = call;
    const microphone = await this.#microphone();
    // Hung up while the browser asked for the microphone.
    if (!microphone || call.phase === 'ended') {
      for (const track of microphone?.getTracks() ?? []) track.stop();
      if (this.call === call) this.call = null;
      return;
    }
    call.place(this.#ua, microphone);
  }

  async answer() {
    const call = this.call;
    if (call?.phase !== 'incoming') return;
    this.notice = null;
    const microphone = await this.#microphone();
    if (microphone) call.answer(microphone);
  }

  dismiss() {
    if (!this.busy) this.call = null;
    this.notice = null;
  }

  #connect(account: PhoneSession): UA {
    const ua = new UA({
      sockets: [new WebSocketInterface(account.wss_url)],
      uri: account.aor,
      display_name: account.display_name,
      // JsSIP sends the text as it is in `Authorization`.
      authorization_jwt: `Bearer ${account.token}`,
      instance_id: instance(),
      register_expires: 300,
      session_timers: false,
      user_agent: 'Whimbrel web phone',
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 15,
    });
    ua.on('registered', () => {
      this.registration = 'registered';
      if (!this.busy) this.notice = null;
    });
    ua.on('unregistered', () => {
      if (this.#ua === ua) this.registration = 'connecting';
    });
    ua.on('disconnected', () => this.#lost(ua));
    ua.on('registrationFailed', (event) => {
      const status = event.response?.status_code;
      this.registration = 'failed';
      this.notice = registrationFailure({ cause: event.cause ?? '', status, reason: event.response?.reason_phrase });
      // A token that ended while the computer slept: fetch a new one.
      if (status === 401 || status === 403) this.#later(() => this.#renew());
      else if (ua.isConnected()) this.#later(async () => ua.register());
    });
    ua.on('newRTCSession', (event: RTCSessionEvent) => {
      if (event.originator === 'remote') this.#offered(event.session);
    });
    ua.start();
    return ua;
  }

  #lost(ua: UA) {
    if (this.#ua !== ua) return;
    this.registration = 'connecting';
    if (!this.busy) this.notice = 'The server cannot be reached. Trying again.';
  }

  #offered(session: RTCSessionEvent['session']) {
    if (this.busy) {
      session.terminate({ status_code: 486, reason_phrase: 'Busy Here' });
      return;
    }
    this.notice = null;
    this.call = Call.offered(session);
  }

  async #microphone(): Promise<MediaStream | null> {
    if (!navigator.mediaDevices) {
      this.notice = microphoneFailure('InsecureContext');
      return null;
    }
    try {
      return await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
        video: false,
      });
    } catch (error) {
      this.notice = microphoneFailure(error instanceof Error ? error.name : String(error));
      return null;
    }
  }

  #renewAt(expires: number) {
    clearTimeout(this.#timer);
    const wait = Math.max(5000, expires - Date.now() - TOKEN_MARGIN_MS);
    // setTimeout takes at most 2^31 - 1.
    this.#timer = setTimeout(() => void this.#renew(), Math.min(wait, 2_000_000_000));
  }

  async #renew() {
    if (!this.#ua) return;
    try {
      const account = await api.phoneSession();
      this.account = account;
      this.#ua?.set('authorization_jwt', `Bearer ${account.token}`);
      if (this.registration === 'failed') this.#ua?.register();
      this.#renewAt(account.expires_at_ms);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.stop();
      else this.#later(() => this.#renew());
    }
  }

  #later(f: () => Promise<void>) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void f(), RETRY_MS);
  }
}

/** RFC 5626 instance: stays with the tab, so that a reload takes the place of its own old binding. */
function instance(): string {
  const KEY = 'whimbrel-instance';
  const known = sessionStorage.getItem(KEY);
  if (known) return known;
  const made = crypto.randomUUID?.() ?? uuid(crypto.getRandomValues(new Uint8Array(16)));
  sessionStorage.setItem(KEY, made);
  return made;
}

function uuid(bytes: Uint8Array): string {
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export const phone = new Phone();

/** For tests: what the phone is doing, as plain data. */
export interface Window {
  registration: Registration;
  notice: string | null;
  call: {
    direction: string;
    phase: string;
    peer: string;
    held: boolean;
    muted: boolean;
    error: string | null;
    levels: { microphone: number; far: number };
  } | null;
  /** The last figures, also after the call. */
  stats: Quality | null;
  lastStats: Quality | null;
}

let lastStats: Quality | null = null;

Object.defineProperty(window, 'whimbrelPhone', {
  get(): Window {
    const call = phone.call;
    lastStats = call?.quality ?? lastStats;
    return {
      registration: phone.registration,
      notice: phone.notice,
      call: call && {
        direction: call.direction,
        phase: call.phase,
        peer: call.peer,
        held: call.held,
        muted: call.muted,
        error: call.error,
        levels: { microphone: call.microphoneLevel, far: call.farLevel },
      },
      stats: call?.quality ?? null,
      lastStats,
    };
  },
});

// A closed tab must not ring on: the call and the binding end with it.
addEventListener('pagehide', () => phone.stop());
addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});
debug.disable();
