// Follows the server's events for as long as someone is signed in.
import { api } from './api';
import type { LiveEvent } from './api-types';
import { NOTHING, apply } from './live';

const NAMES = ['snapshot', 'registered', 'unregistered', 'call', 'call_ended'];
const RETRY_MS = [1000, 2000, 5000, 10_000];
/** Events are taken in together this often, and the history is asked again no oftener than that. */
const BATCH_MS = 100;
const HISTORY_MS = 1000;

class LiveFeed {
  state = $state.raw(NOTHING);
  /** Whether what is shown is what is. */
  connected = $state(false);

  /** Grows when the history has something new. */
  history = $state(0);

  #waiting: LiveEvent[] = [];
  #batch: ReturnType<typeof setTimeout> | undefined;
  #refresh: ReturnType<typeof setTimeout> | undefined;
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;

  start() {
    if (this.#source || this.#timer) return;
    this.#open();
  }

  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#batch);
    clearTimeout(this.#refresh);
    this.#timer = this.#batch = this.#refresh = undefined;
    this.#waiting = [];
    this.#source?.close();
    this.#source = null;
    this.#failures = 0;
    this.connected = false;
    this.state = NOTHING;
  }

  #open() {
    this.#timer = undefined;
    const source = new EventSource('/api/events');
    this.#source = source;
    source.onopen = () => {
      this.connected = true;
      this.#failures = 0;
    };
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        this.#waiting.push(JSON.parse((event as MessageEvent<string>).data) as LiveEvent);
        this.#batch ??= setTimeout(() => this.#take(), BATCH_MS);
      });
    }
    source.onerror = () => {
      this.connected = false;
      // A dropped connection is taken up by the browser itself; a refusal is final to it, not to us.
      if (source.readyState === EventSource.CLOSED) this.#again();
    };
  }

  #take() {
    this.#batch = undefined;
    const before = this.state.ended;
    this.state = apply(this.state, this.#waiting);
    this.#waiting = [];
    if (this.state.ended === before) return;
    this.#refresh ??= setTimeout(() => {
      this.#refresh = undefined;
      this.history += 1;
    }, HISTORY_MS);
  }

  #again() {
    this.#source?.close();
    this.#source = null;
    const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    this.#timer = setTimeout(async () => {
      // Finds out whether the session is over, which leads to the sign-in page.
      await api.session().catch(() => {});
      if (this.#timer) this.#open();
    }, wait);
  }
}

export const feed = new LiveFeed();
