// Made by `npm run types` from docs/reference/api/openapi.json. Do not edit.

export type AddUser = {
  account: string;
  password: string;
};

export type Document = { [field: string]: unknown };

export type Health = {
  ready: boolean;
  version: string;
};

export type LiveCall = {
  answered_at_ms: number | null;
  call_id: string;
  codecs: Array<string>;
  from: string;
  id: string;
  session_id: string;
  started_at_ms: number;
  state: "started" | "ringing" | "answered";
  to: string;
};

export type LiveCallList = Array<LiveCall>;

export type LiveEvent = {
  calls: Array<LiveCall>;
  registrations: Array<Registration>;
  type: "snapshot";
} | {
  registration: Registration;
  type: "registered";
} | {
  aor: string;
  id: string;
  type: "unregistered";
} | {
  call: LiveCall;
  type: "call";
} | {
  callee_media: MediaQuality | null;
  caller_media: MediaQuality | null;
  cause: string;
  ended_at_ms: number;
  from: string;
  id: string;
  to: string;
  type: "call_ended";
};

export type MediaQuality = {
  jitter_ms: number;
  lost: number;
  packets: number;
  rtt_ms: number | null;
};

export type PhoneSession = {
  aor: string;
  display_name: string;
  expires_at_ms: number;
  token: string;
  wss_url: string;
};

export type Problem = {
  detail: string;
  field?: string;
  remedy: string;
  status: number;
  title: string;
  type: string;
  value?: string;
};

export type Record = {
  answered: boolean;
  answered_at_ms: number | null;
  call_id: string;
  callee_media: MediaQuality | null;
  caller_media: MediaQuality | null;
  cause: string | null;
  codecs: Array<string>;
  duration_ms: number | null;
  ended_at_ms: number | null;
  ended_by: string | null;
  from: string;
  q850: number | null;
  session_id: string;
  source: string;
  started_at_ms: number;
  status: number | null;
  to: string;
  user_agent: string | null;
};

export type RecordPage = {
  items: Array<Record>;
  next: string | null;
};

export type RedeemLink = {
  cookie_only?: boolean;
  token: string;
};

export type Registration = {
  aor: string;
  contact: string;
  expires_at_ms: number;
  id: string;
  registered_at_ms: number;
  source: string;
  transport: string;
  user_agent: string | null;
};

export type RegistrationList = Array<Registration>;

export type Session = {
  account: string;
  expires_at_ms: number;
  roles: Array<"admin" | "user">;
};

export type SessionToken = {
  account: string;
  expires_at_ms: number;
  roles: Array<"admin" | "user">;
  token?: string;
};

export type SetPassword = {
  password: string;
};

export type SignIn = {
  account: string;
  cookie_only?: boolean;
  password: string;
};

export type Tenant = {
  domain: string;
  users: number;
};

export type TenantList = Array<Tenant>;

export type User = {
  account: string;
  created_at_ms: number;
};

export type UserPage = {
  items: Array<User>;
  next: string | null;
};
