export default function Ports() {
  return <p>Ports</p>;
}
