import { expect, test } from 'vitest';
import { callFailure, endNotice, microphoneFailure, registrationFailure } from './cause';

test('statuses become sentences that name the callee', () => {
  expect(callFailure({ cause: 'Busy', status: 486 }, 'bob')).toBe('bob is busy.');
  expect(callFailure({ cause: 'Unavailable', status: 480 }, 'bob')).toContain('not reachable');
  expect(callFailure({ cause: 'SIP Failure Code', status: 500, reason: 'Oops' }, 'bob')).toContain('Oops (500)');
  expect(callFailure({ cause: 'Canceled' }, 'bob')).toBe('Call cancelled.');
  expect(callFailure({ cause: 'Strange' }, 'bob')).toContain('Strange');
});

test('an ordinary end needs no words', () => {
  expect(endNotice({ cause: 'Terminated' })).toBeNull();
  expect(endNotice({ cause: 'Terminated', reason: 'bye' })).toBeNull();
  expect(endNotice({ cause: 'Terminated', reason: 'media-silence' })).toBe('Audio fell silent.');
  expect(endNotice({ cause: 'RTP Timeout' })).toContain('audio');
});

test('registration and microphone', () => {
  expect(registrationFailure({ cause: 'Rejected', status: 403 })).toContain('refused');
  expect(registrationFailure({ cause: 'Connection Error' })).toContain('Trying again');
  expect(microphoneFailure('NotAllowedError')).toContain('blocked');
  expect(microphoneFailure('Odd')).toContain('Odd');
});
