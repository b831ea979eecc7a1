// llama.cpp on a model file, driven by lines on the input: `prefill TOKENS` or `decode TOKENS DEPTH`. Answers each with the
// milliseconds that it took, the cache before it not counted.
//
//   node peer.mjs FILE THREADS CONTEXT
import {readFileSync} from "node:fs";
import {createInterface} from "node:readline";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [file, threads, context] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: file, gpuLayers: 0});
const made = await model.createContext({
    contextSize: Number(context), batchSize: 512, threads: Number(threads), flashAttention: true
});
const sequence = made.getSequence();
const {dependencies} = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));
console.log(`llama.cpp of node-llama-cpp ${dependencies["node-llama-cpp"]}: ${llama.systemInfo.trim()}`);

// Any tokens of the vocabulary do: routing depends on them, the amount of work does not.
const some = (count) => Array.from({length: count}, (_, i) => (i * 7919 + 13) % 256);

async function timed(work) {
    const begin = performance.now();
    await work();
    return performance.now() - begin;
}

for await (const line of createInterface({input: process.stdin})) {
    const [what, count, depth] = line.split(" ");
    await sequence.clearHistory();
    let ms;
    if (what === "prefill") {
        ms = await timed(() => sequence.evaluateWithoutGeneratingNewTokens(some(Number(count))));
    } else {
        if (Number(depth) > 0) await sequence.evaluateWithoutGeneratingNewTokens(some(Number(depth)));
        ms = await timed(async () => {
            let left = Number(count);
            for await (const _ of sequence.evaluate([1], {temperature: 0, yieldEogToken: true})) {
                if (--left === 0) break;
            }
        });
    }
    console.log(ms.toFixed(3));
}
process.exit(0);
