import { expect, test } from 'vitest';
import { type Report, quality } from './quality';

const report = (received: number, lost: number): Report[] => [
  {
    id: 'in',
    type: 'inbound-rtp',
    kind: 'audio',
    codecId: 'c',
    packetsReceived: received,
    packetsLost: lost,
    jitter: 0.004,
    jitterBufferDelay: received * 0.04,
    jitterBufferEmittedCount: received,
    totalAudioEnergy: 0.5,
  },
  { id: 'out', type: 'outbound-rtp', kind: 'audio', packetsSent: 7 },
  { id: 'c', type: 'codec', mimeType: 'audio/opus', clockRate: 48000 },
  { id: 'r', type: 'remote-inbound-rtp', kind: 'audio', roundTripTime: 0.03 },
  { id: 'p', type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.09 },
  { id: 't', type: 'transport', dtlsState: 'connected', srtpCipher: 'AEAD_AES_128_GCM' },
];

test('figures of one report', () => {
  const { quality: q } = quality(report(100, 0), null);
  expect(q).toMatchObject({ codec: 'Opus 48 kHz', packetsSent: 7, packetsReceived: 100, jitterMs: 4, rttMs: 30 });
  expect(q.bufferMs).toBeCloseTo(40);
  expect([q.dtls, q.grade]).toEqual(['connected', 'good']);
});

test('loss is that of the last interval', () => {
  const first = quality(report(100, 20), null);
  expect(first.quality.lossPercent).toBeCloseTo(16.7, 1);
  expect(first.quality.grade).toBe('poor');
  const second = quality(report(200, 20), first.tally);
  expect([second.quality.lossPercent, second.quality.grade]).toEqual([0, 'good']);
});

test('an empty report is no reason to fail', () => {
  const { quality: q } = quality([], null);
  expect([q.codec, q.rttMs, q.bufferMs, q.packetsReceived]).toEqual([null, null, null, 0]);
});
