import { INVITE_PAGE } from "@/lib/invitation";
import { NewAccount } from "@/pages/auth/NewAccount";
import { Providers } from "@/pages/auth/Providers";

export interface NewcomerProps {
  token: string;
  /** Being led on. */
  done: boolean;
  onRegistered: () => void;
}

/** Somebody who is not signed in: a new account, which joins as it is made. */
export function Newcomer({ token, done, onRegistered }: NewcomerProps) {
  return (
    <>
      <NewAccount
        done={done}
        invitation={token}
        verb="Create the account and join"
        onRegistered={onRegistered}
      />
      <Providers next={INVITE_PAGE} invitation={token} />
    </>
  );
}
