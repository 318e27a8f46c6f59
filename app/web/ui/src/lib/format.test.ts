import { expect, test } from 'vitest';
import type { Record } from './api-types';
import { bare, cause, duration, endedBy, grade, party, percent, q850, quality, until } from './format';

test('durations', () => {
  expect([-5, 0, 7000, 187_999, 3_753_000].map(duration)).toEqual(['0:00', '0:00', '0:07', '3:07', '1:02:33']);
});

test('time left', () => {
  expect([0, 50_000, 240_000, 7_200_000].map((at) => until(at, 0))).toEqual(['now', 'in 50 s', 'in 4 min', 'in 2 h']);
});

test('addresses', () => {
  expect(bare('sip:alice@example.com;transport=ws')).toBe('alice@example.com');
  expect(bare('<sips:bob@example.com>;tag=1')).toBe('bob@example.com');
  expect(bare('sip:%2343@example.com')).toBe('#43@example.com');
  expect(bare('sip:%zz@x')).toBe('%zz@x');
  expect(party('sip:alice@example.com')).toBe('alice');
});

test('causes', () => {
  expect(cause('server-restart')).toBe('Server restarted');
  expect(cause('some-new_cause')).toBe('Some new cause');
  expect(cause(null)).toBe('In progress');
  expect([cause('failed', 486), cause('failed', 500), cause('no-answer', 480), cause('no-answer', 408)]).toEqual([
    'Busy',
    'Failed',
    'Not reachable',
    'No answer',
  ]);
});

test('who ended a call, and by which Q.850 cause', () => {
  expect([q850(16), q850(17), q850(99), q850(null)]).toEqual(['16 (normal clearing)', '17 (user busy)', '99', null]);
  expect([endedBy('caller'), endedBy('callee'), endedBy('server'), endedBy('ghost'), endedBy(null)]).toEqual([
    'the caller',
    'the callee',
    'the server',
    'ghost',
    null,
  ]);
});

test('quality is that of the worse direction', () => {
  const side = (packets: number, lost: number, jitter_ms: number) => ({ packets, lost, jitter_ms, rtt_ms: null });
  const record = { caller_media: side(100, 0, 3), callee_media: side(90, 10, 1) } as Record;
  expect(quality(record)).toEqual({ grade: 'poor', loss: 10, jitter: 3 });
  expect(quality({ caller_media: null, callee_media: null } as Record)).toBeNull();
  expect([grade(0, 5), grade(2, 5), grade(0, 30), grade(0, 5, 300), grade(9, 0)]).toEqual([
    'good',
    'fair',
    'fair',
    'fair',
    'poor',
  ]);
  expect([percent(0), percent(0.42), percent(12.3)]).toEqual(['0 %', '0.4 %', '12 %']);
});
