import { describe, expect, test } from 'vitest';
import type { LiveCall, LiveEvent, Registration } from './api-types';
import { NOTHING, apply, type Live } from './live';

const call = (id: string, state: LiveCall['state'] = 'started'): LiveCall => ({
  id,
  session_id: `s-${id}`,
  call_id: `c-${id}`,
  from: 'sip:alice@example.com',
  to: 'sip:bob@example.com',
  state,
  started_at_ms: 1,
  answered_at_ms: null,
  codecs: [],
});
const registration = (id: string): Registration => ({
  id,
  aor: 'sip:alice@example.com',
  contact: 'sip:x',
  transport: 'wss',
  source: '192.0.2.1:1',
  user_agent: null,
  registered_at_ms: 1,
  expires_at_ms: 2,
});
const ended = (id: string): LiveEvent => ({
  type: 'call_ended',
  id,
  from: 'a',
  to: 'b',
  cause: 'bye',
  ended_at_ms: 3,
  caller_media: null,
  callee_media: null,
});
const fold = (events: LiveEvent[], from: Live = NOTHING) => apply(from, events);

describe('live state', () => {
  test('a call comes, moves on and goes', () => {
    const ringing = fold([{ type: 'call', call: call('1') }, { type: 'call', call: call('1', 'ringing') }]);
    expect([...ringing.calls.values()].map((c) => c.state)).toEqual(['ringing']);
    const over = fold([ended('1')], ringing);
    expect(over.calls.size).toBe(0);
    expect(over.ended).toBe(1);
  });

  test('told twice is told once', () => {
    const events: LiveEvent[] = [{ type: 'registered', registration: registration('r') }, ended('gone')];
    expect(fold([...events, ...events]).registrations.size).toBe(1);
  });

  test('a snapshot replaces what was missed', () => {
    const before = fold([
      { type: 'call', call: call('old') },
      { type: 'registered', registration: registration('old') },
    ]);
    const after = fold([{ type: 'snapshot', calls: [call('new')], registrations: [] }], before);
    expect([...after.calls.keys()]).toEqual(['new']);
    expect(after.registrations.size).toBe(0);
    expect(after.ended).toBeGreaterThan(before.ended);
  });

  test('an unknown event of a newer server changes nothing', () => {
    expect(fold([{ type: 'later' } as unknown as LiveEvent])).toEqual(NOTHING);
  });

  test('states are not changed in place', () => {
    const one = fold([{ type: 'call', call: call('1') }]);
    fold([ended('1')], one);
    expect(one.calls.size).toBe(1);
  });
});
