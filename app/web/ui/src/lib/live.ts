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

/** The state after `event`. Told twice is the same as told once; an unknown event changes nothing. */
export function apply(state: Live, event: LiveEvent): Live {
  switch (event.type) {
    case 'snapshot':
      return {
        registrations: byId(event.registrations),
        calls: byId(event.calls),
        // Calls may have ended unseen while the stream was down.
        ended: state.ended + 1,
      };
    case 'registered':
      return { ...state, registrations: put(state.registrations, event.registration) };
    case 'unregistered':
      return { ...state, registrations: without(state.registrations, event.id) };
    case 'call':
      return { ...state, calls: put(state.calls, event.call) };
    case 'call_ended':
      return { ...state, calls: without(state.calls, event.id), ended: state.ended + 1 };
    default:
      return state;
  }
}

function byId<T extends { id: string }>(list: T[]): ReadonlyMap<string, T> {
  return new Map(list.map((entry) => [entry.id, entry]));
}

function put<T extends { id: string }>(map: ReadonlyMap<string, T>, entry: T): ReadonlyMap<string, T> {
  return new Map(map).set(entry.id, entry);
}

function without<T>(map: ReadonlyMap<string, T>, id: string): ReadonlyMap<string, T> {
  if (!map.has(id)) return map;
  const rest = new Map(map);
  rest.delete(id);
  return rest;
}
