// Numbers and lists as words.

export function format(value, digits = 2) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5)
    return String(
      Number(value.toPrecision(Math.max(digits, Math.ceil(Math.log10(size) + 1e-9)))),
    ).replace("-", "−");
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}×${powerOfTen(Number(exponent))}`
    .replace("-", "−")
    .replace(/^(−?)1×/, "$1");
}

export const powerOfTen = (exponent) =>
  `10${String(exponent).replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)])}`;

export const listed = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
