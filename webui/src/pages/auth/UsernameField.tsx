import { TextField, type TextFieldProps } from "@/ui/Field";

/** The name of an account, as password managers know it; the first thing that is typed on its page. */
export function UsernameField(input: Omit<TextFieldProps, "label">) {
  return (
    <TextField
      {...input}
      label="User name"
      name="username"
      autoComplete="username"
      autoCapitalize="none"
      spellCheck={false}
      autoFocus
      required
    />
  );
}
