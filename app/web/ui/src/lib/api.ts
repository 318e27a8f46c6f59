// Talks to the server's API. The session is an HttpOnly cookie, out of this code's reach.
import type {
  LiveCall,
  PhoneSession,
  Problem,
  RecordPage,
  Registration,
  Session,
  SessionToken,
  Tenant,
  User,
  UserPage,
} from './api-types';

/** A refusal, or a server that cannot be reached (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Partial<Problem>,
  ) {
    super(problem.detail ?? problem.title ?? `The server answered ${status}.`);
  }

  /** What happened and what to do, in one text. */
  get text(): string {
    return this.problem.remedy ? `${this.message} ${this.problem.remedy}` : this.message;
  }
}

/** For showing whatever was thrown. */
export function explain(error: unknown): string {
  if (error instanceof ApiError) return error.text;
  return error instanceof Error ? error.message : String(error);
}

let onSignedOut = () => {};

/** Calls `f` when an operation finds that the session is over. */
export function whenSignedOut(f: () => void) {
  onSignedOut = f;
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (method !== 'GET') headers['X-Whimbrel'] = '1';
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  try {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: sent, credentials: 'same-origin' });
  } catch {
    throw new ApiError(0, {
      detail: 'The server cannot be reached.',
      remedy: 'Check the connection; the page tries again when you do.',
    });
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const problem: Partial<Problem> = await response.json().catch(() => ({}));
  if (problem.type === 'urn:whimbrel:problem:not-signed-in') onSignedOut();
  throw new ApiError(response.status, problem);
}

function query(values: Record<string, string | number | undefined>): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
}

const user = (account: string) => `/api/users/${encodeURIComponent(account)}`;

export const api = {
  signIn: (account: string, password: string) =>
    call<SessionToken>('POST', '/api/session', { account, password, cookie_only: true }),
  redeemLink: (token: string) =>
    call<SessionToken>('POST', '/api/session/link', { token, cookie_only: true }),
  session: () => call<Session>('GET', '/api/session'),
  signOut: () => call<void>('DELETE', '/api/session'),
  registrations: () => call<Registration[]>('GET', '/api/registrations'),
  calls: () => call<LiveCall[]>('GET', '/api/calls'),
  hangUp: (id: string) => call<void>('DELETE', `/api/calls/${encodeURIComponent(id)}`),
  records: (page: { limit?: number; after?: string; search?: string }) =>
    call<RecordPage>('GET', `/api/records?${query(page)}`),
  tenants: () => call<Tenant[]>('GET', '/api/tenants'),
  users: (page: { limit?: number; after?: string; search?: string }) =>
    call<UserPage>('GET', `/api/users?${query(page)}`),
  addUser: (account: string, password: string) =>
    call<User>('POST', '/api/users', { account, password }),
  removeUser: (account: string) => call<void>('DELETE', user(account)),
  setPassword: (account: string, password: string) =>
    call<void>('PUT', `${user(account)}/password`, { password }),
  phoneSession: () => call<PhoneSession>('POST', '/api/phone/session'),
};
