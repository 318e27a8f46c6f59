import { expect, test } from 'vitest';
import { loudness } from './sound';

test('levels are linear in decibels', () => {
  expect([loudness(0), loudness(0.0001), loudness(1), loudness(2)]).toEqual([0, 0, 1, 1]);
  expect(loudness(0.0316)).toBeCloseTo(0.5, 2);
});
