// Made by scripts/write_types.py of daemon/signin/faults.py; do not edit.

export type SignInFault = "expired" | "other_browser" | "denied" | "provider_refused" | "bad_answer" | "clock" | "email_taken" | "domain_not_allowed" | "organisation_required" | "registration_closed" | "account_disabled" | "identity_taken" | "signed_out" | "invitation_not_found" | "too_many_attempts" | "no_sign_out";
