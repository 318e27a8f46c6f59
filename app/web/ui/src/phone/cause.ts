// Why a registration or a call failed, in words that say what to do. Pure.

import { cause as causeInWords } from '../lib/format';

export interface Failure {
  /** JsSIP's own word. */
  cause: string;
  /** SIP status, when one came. */
  status?: number | undefined;
  /** The text of a `Reason` header (RFC 3326) or of the status line. */
  reason?: string | undefined;
}

/** A call that never became one. */
export function callFailure({ cause, status, reason }: Failure, callee: string): string {
  switch (status) {
    case 401:
    case 403:
    case 407:
      return `The server does not let you call ${callee}.`;
    case 404:
    case 604:
      return `Nobody here has the name or number “${callee}”.`;
    case 408:
      return `${callee} did not answer.`;
    case 410:
    case 480:
      return `${callee} is not reachable now: no phone of theirs is connected.`;
    case 484:
      return 'The number is not complete.';
    case 486:
    case 600:
      return `${callee} is busy.`;
    case 487:
      return cause === 'Canceled' ? 'Call cancelled.' : `${callee} did not answer.`;
    case 488:
    case 606:
      return `${callee}'s phone and this browser have no kind of audio in common.`;
    case 603:
    case 607:
      return `${callee} declined the call.`;
  }
  if (status) return `The call failed: ${reason || cause} (${status}).`;
  return local(cause, callee) ?? `The call failed: ${reason || cause}.`;
}

/** Failures that no response tells. */
function local(cause: string, callee: string): string | undefined {
  switch (cause) {
    case 'Canceled':
      return 'Call cancelled.';
    case 'Rejected':
      return 'Call declined.';
    case 'No Answer':
    case 'Expires':
      return `${callee} did not answer.`;
    case 'Connection Error':
      return 'The connection to the server was lost. The phone connects again by itself.';
    case 'Request Timeout':
      return 'The server does not answer. Check the connection and try again.';
    case 'User Denied Media Access':
      return microphoneFailure('NotAllowedError');
    case 'WebRTC Error':
    case 'Bad Media Description':
    case 'Missing SDP':
      return 'The audio could not be set up. Try again; if it stays, reload the page.';
  }
}

/** A call that took place and ended otherwise than by hanging up; `null` for an ordinary end. */
export function endNotice({ cause, reason }: Failure): string | null {
  if (cause === 'Terminated') return reason && !/^(normal|bye)/i.test(reason) ? `${causeInWords(reason)}.` : null;
  if (cause === 'RTP Timeout') return 'Ended: no audio came any more.';
  if (cause === 'No ACK' || cause === 'Dialog Error') return 'Ended: the far side was lost.';
  return local(cause, 'The far side') ?? `Ended: ${reason || cause}.`;
}

/** The phone could not register. */
export function registrationFailure({ cause, status, reason }: Failure): string {
  if (status === 401 || status === 403 || status === 407) {
    return 'The server refused this phone. Sign out and in again; if it stays, ask for a new password.';
  }
  if (status === 404) return 'The server does not know this account any more.';
  if (status === 503) return 'The server takes no phones now. Trying again.';
  if (status) return `The phone could not register: ${reason || cause} (${status}).`;
  if (cause === 'Request Timeout') return 'The server does not answer the registration. Trying again.';
  return 'The server cannot be reached. Trying again.';
}

/** By the name of the error that `getUserMedia` gave. */
export function microphoneFailure(name: string): string {
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'The microphone is blocked. Allow it for this site (the icon beside the address) and call again.';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'No microphone was found. Plug one in and call again.';
    case 'NotReadableError':
    case 'AbortError':
      return 'The microphone is in use by another program. Close that and call again.';
    case 'InsecureContext':
      return 'Browsers give the microphone to secure pages only. Open this page by its https:// address.';
    default:
      return `The microphone cannot be used (${name}).`;
  }
}
