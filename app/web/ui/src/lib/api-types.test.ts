import { expect, test } from 'vitest';
// @ts-expect-error a plain script without types
import { current, generate } from '../../scripts/types.mjs';

test('the types are those of the document (npm run types)', () => {
  expect(current()).toBe(generate());
});
