// Who is signed in, and which page is shown.
import { ApiError, api, whenSignedOut } from './api';
import type { Session, Tenant } from './api-types';
import { feed } from './stream.svelte';

class App {
  /** `undefined`: not known yet. */
  session = $state.raw<Session | null | undefined>(undefined);
  path = $state(location.pathname);
  /** The domains served; only administrators are told. */
  tenants = $state.raw<Tenant[]>([]);
  /** Why the server could not be asked who we are. */
  trouble = $state<string | null>(null);

  get isAdmin(): boolean {
    return this.session?.roles.includes('admin') ?? false;
  }

  /** The domain that a bare name belongs to, where there is only one choice. */
  get domain(): string | undefined {
    if (this.isAdmin) return this.tenants.length === 1 ? this.tenants[0]?.domain : undefined;
    return this.session?.account.split('@')[1];
  }

  /** `alice` as `alice@example.com`. */
  whole(name: string): string {
    const text = name.trim();
    return text === '' || text.includes('@') || !this.domain ? text : `${text}@${this.domain}`;
  }

  async start() {
    whenSignedOut(() => this.#set(null));
    addEventListener('popstate', () => (this.path = location.pathname));
    // A one-time link signs in by itself; an answer of before that must not sign out again.
    if (!this.invitation) await this.refresh();
  }

  /** The token of the one-time link that was opened. */
  get invitation(): string | null {
    return /^\/welcome\/([^/]+)\/?$/.exec(this.path)?.[1] ?? null;
  }

  async refresh() {
    this.trouble = null;
    try {
      this.#set(await api.session());
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.#set(null);
      else this.trouble = error instanceof ApiError ? error.text : String(error);
    }
  }

  async signIn(account: string, password: string) {
    this.#set(await api.signIn(account, password));
    // Whoever has a phone most likely came for it.
    if (!this.isAdmin && this.path === '/') this.go('/phone');
  }

  async redeem(token: string) {
    this.#set(await api.redeemLink(token));
    // Replaced, so that the spent link does not stay in the history.
    this.go('/', true);
  }

  async signOut() {
    await api.signOut().catch(() => {});
    this.#set(null);
    this.go('/', true);
  }

  go(path: string, replace = false) {
    if (replace) history.replaceState(null, '', path);
    else if (path !== location.pathname) history.pushState(null, '', path);
    this.path = path;
    scrollTo(0, 0);
  }

  #set(session: Session | null) {
    this.session = session;
    if (session) feed.start();
    else feed.stop();
    // A convenience: without it names are written in full.
    if (this.isAdmin) api.tenants().then((list) => (this.tenants = list), () => {});
  }
}

export const app = new App();

/** For links: moves within the page, unless a new tab was asked for. */
export function link(event: MouseEvent) {
  const target = event.currentTarget as HTMLAnchorElement;
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  app.go(new URL(target.href).pathname);
}
