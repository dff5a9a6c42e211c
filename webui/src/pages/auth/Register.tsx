import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { registrationQuery } from "@/api/queries";
import { Loaded, Loading } from "@/ui/Loaded";
import { Notice } from "@/ui/Notice";
import { Entry } from "./Entry";
import { NewAccount } from "./NewAccount";
import { Providers } from "./Providers";
import { useLedOn } from "./signing-in";

export default function Register() {
  const { next } = useSearch({ from: "/register" });
  const { asking, signedIn } = useLedOn(next);
  const registration = useQuery(registrationQuery);
  return (
    <Entry
      title="Create an account"
      below={
        <>
          You have an account?{" "}
          <Link to="/login" search={next === undefined ? {} : { next }}>
            Sign in
          </Link>
        </>
      }
    >
      {asking ? (
        <Loading what="your session" />
      ) : (
        <Loaded query={registration} what="whether one can register here">
          {({ possible, first, reason }) =>
            possible ? (
              <>
                {first && (
                  <Notice>You are the first here: this account becomes the admin of the server.</Notice>
                )}
                <NewAccount done={signedIn} />
              </>
            ) : (
              <Notice>{reason}</Notice>
            )
          }
        </Loaded>
      )}
      <Providers next={next} />
    </Entry>
  );
}
