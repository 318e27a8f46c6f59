import { expect, test } from 'vitest';
import { target } from './target';

const to = (text: string) => target(text, 'example.com');

test('names, numbers and addresses', () => {
  expect(to('bob')).toBe('sip:bob@example.com');
  expect(to(' bob@other.test ')).toBe('sip:bob@other.test');
  expect(to('sip:bob@other.test:5070')).toBe('sip:bob@other.test:5070');
  expect(to('*43')).toBe('sip:*43@example.com');
  expect(to('12#')).toBe('sip:12%23@example.com');
  expect(to('+49 (89) 123-45/6')).toBe('sip:+4989123456@example.com');
  expect(to('jörg')).toBe('sip:j%C3%B6rg@example.com');
  expect(to('bob@[2001:db8::1]')).toBe('sip:bob@[2001:db8::1]');
});

test('what names nobody', () => {
  expect(['', '  ', 'sip:', '@example.com', 'a b', 'bob@', 'bob@ex ample', 'x"y', 'bob@a>b'].map(to)).toEqual(
    Array(9).fill(null),
  );
});
