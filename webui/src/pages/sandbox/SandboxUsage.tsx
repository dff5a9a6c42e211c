export default function SandboxUsage() {
  return <p>SandboxUsage</p>;
}
