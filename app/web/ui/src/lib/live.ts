// What goes on now, folded from the events the server pushes. Pure.
import type { LiveCall, LiveEvent, Registration } from './api-types';

export interface Live {
  /** By identifier. */
  registrations: ReadonlyMap<string, Registration>;
  /** By identifier, in the order in which they started. */
  calls: ReadonlyMap<string, LiveCall>;
  /** How many calls ended since the page was opened: tells the history to look again. */
  ended: number;
}

export const NOTHING: Live = { registrations: new Map(), calls: new Map(), ended: 0 };

/**
 * The state after `events`, taken together so that a busy server costs one copy per batch. Told twice is the same as
 * told once; an unknown event changes nothing.
 */
export function apply(state: Live, events: readonly LiveEvent[]): Live {
  let registrations = new Map(state.registrations);
  let calls = new Map(state.calls);
  let ended = state.ended;
  for (const event of events) {
    switch (event.type) {
      case 'snapshot':
        registrations = byId(event.registrations);
        calls = byId(event.calls);
        // Calls may have ended unseen while the stream was down.
        ended += 1;
        break;
      case 'registered':
        registrations.set(event.registration.id, event.registration);
        break;
      case 'unregistered':
        registrations.delete(event.id);
        break;
      case 'call':
        calls.set(event.call.id, event.call);
        break;
      case 'call_ended':
        calls.delete(event.id);
        ended += 1;
        break;
    }
  }
  return { registrations, calls, ended };
}

function byId<T extends { id: string }>(list: T[]): Map<string, T> {
  return new Map(list.map((entry) => [entry.id, entry]));
}
