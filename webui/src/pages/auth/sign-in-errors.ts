import type { SignInFault } from "@/api/faults.gen";

const AGAIN = "Nothing was changed; try again.";
const TELL = "Nothing was changed. If it happens again, tell whoever runs this server: its log has more.";

/** What happened, whether anything is lost, what can be done: for each word that the server says it by. */
const WORDS: Readonly<Record<SignInFault, string>> = {
  expired: `The sign-in took too long, or its page was loaded a second time. ${AGAIN}`,
  other_browser: `The sign-in was begun in another browser, or this one does not keep our cookies. ${AGAIN}`,
  denied: "The provider was not allowed to tell us who you are. Nothing was changed; you can try again.",
  provider_refused: `The provider refused the sign-in. ${TELL}`,
  bad_answer: `What the provider said could not be checked, so nobody was signed in. ${TELL}`,
  clock:
    "The clocks of this server and of the provider differ, so what the provider said could not be checked. Nothing was changed. Tell whoever runs this server.",
  email_taken:
    "An account here has your e-mail address already. Sign in with its password, then link the provider under Account, “How you sign in”.",
  domain_not_allowed:
    "This server lets in only accounts with a confirmed e-mail address of certain domains, and yours is not one of them. Nothing was changed. Use another account, or ask whoever runs this server.",
  organisation_required:
    "This server lets in only members of certain organisations, and your account there shows none of them. Nothing was changed. Use another account, or ask whoever runs this server.",
  registration_closed:
    "You have no account here, and this server makes none for newcomers. Nothing was changed. Ask for an invitation; if you have an account, sign in to it, then link the provider.",
  account_disabled: "Your account here is disabled. Nothing in it was changed; ask whoever runs this server.",
  identity_taken:
    "That account signs in somebody else here, so it was not linked. Nothing was changed. Unlink it there first, or use another.",
  signed_out: "You were signed out meanwhile, so nothing was linked. Sign in, then link it again.",
  invitation_not_found:
    "The invitation was used up or withdrawn, or it expired. Nothing was changed. Ask whoever sent it for a new one.",
  too_many_attempts:
    "Too many sign-ins were begun from here. Nothing was changed; wait some minutes, then try again.",
  no_sign_out:
    "The provider has no place to sign out of it from here, or does not answer. You may still be signed in there: sign out on its own pages. Here, nothing was changed.",
};

/** In words, why signing in with a provider, or out of it, came to nothing. */
export function signInErrorWords(code: string): string {
  return Object.hasOwn(WORDS, code) ? WORDS[code as SignInFault] : `The sign-in did not work. ${TELL}`;
}
