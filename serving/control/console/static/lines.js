// What a request looks like for a signature, and the lines that send it.

const MOST_VALUES = 4096;

export function exampleOf(inputs) {
  return {
    inputs: inputs.filter((one) => !one.optional).map((one) => {
      const shape = one.shape.map((length) => (length < 0 ? 1 : length));
      const count = Math.min(MOST_VALUES, shape.reduce((all, length) => all * length, 1));
      const value = { BOOL: false, BYTES: "" }[one.datatype] ?? 0;
      return { name: one.name, datatype: one.datatype, shape, data: Array(count).fill(value) };
    }),
  };
}

// A word of a shell's command.
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function curlLines(name, version, request, address) {
  const path = `/v2/models/${encodeURIComponent(name)}${version ? `/versions/${version}` : ""}/infer`;
  return `curl -s ${quoted(`http://${address}${path}`)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(request))}`;
}

const NUMPY = {
  BOOL: "np.bool_", FP16: "np.float16", FP32: "np.float32", FP64: "np.float64", BYTES: "np.object_",
  INT8: "np.int8", INT16: "np.int16", INT32: "np.int32", INT64: "np.int64",
  UINT8: "np.uint8", UINT16: "np.uint16", UINT32: "np.uint32", UINT64: "np.uint64",
};

function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "boolean") return value ? "True" : "False";
  return value === null ? "None" : JSON.stringify(value);
}

function array(input) {
  const kind = NUMPY[input.datatype] || "np.float32";
  return `np.array(${literal(input.data ?? [])}, ${kind}).reshape(${literal(input.shape ?? [])})`;
}

export function pythonLines(name, version, request, address) {
  const inputs = (Array.isArray(request?.inputs) ? request.inputs : []).map((one) => `    ${literal(String(one.name))}: ${array(one)},`);
  return [
    "import numpy as np", "from serving_client import Client", "",
    `inputs = {`, ...inputs, "}",
    `with Client(${literal(`http://${address}`)}) as client:`,
    `    result = client.infer(${literal(name)}, inputs${version ? `, version=${version}` : ""})`,
    "    for output in result:", "        print(output, result[output])",
  ].join("\n");
}
