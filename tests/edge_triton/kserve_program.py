"""Uses an edge with KServe's own client, as it comes; run by `test_kserve.py`, which installs that package.

Usage: ``python kserve_program.py ADDRESS``. It imports nothing of the kit.
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient

FRAME = np.full((1, 8, 8, 3), 100, np.uint8)
CODE = np.array([[0.2, 0.5, 0.8]], np.float32)


def tensor(name, value, datatype):
    made = InferInput(name, list(value.shape), datatype)
    made.set_data_from_numpy(value, binary_data=True)
    return made


async def main():
    async with InferenceGRPCClient(sys.argv[1]) as client:
        live, ready = await client.is_server_live(), await client.is_server_ready()
        model_ready = await client.is_model_ready("stylizer")
        inputs = [
            tensor("frame", FRAME, "UINT8"),
            tensor("style_code", CODE, "FP32"),
            tensor("r", np.ones(1, np.float32), "FP32"),
        ]
        reply = await client.infer(InferRequest("stylizer", inputs, request_id="seven"), timeout=60)
        outputs = {output.name: output.as_numpy() for output in reply.outputs}
    facts = {"live": live, "ready": ready, "model_ready": model_ready, "id": reply.id}
    facts["stylized"] = outputs["stylized"].tolist()
    facts["grid"] = list(outputs["grid"].shape)
    sys.stdout.write(json.dumps(facts) + "\n")


asyncio.run(main())
