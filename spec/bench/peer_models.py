"""Compares what own_models.lua computed with timm, in float64 and in float32: the peer of models.lua.

    python peer_models.py DIR        DIR/cases.json lists the cases of one model

Prints, a line each:
    card KEY OURS THEIRS             where what frt.models.card says is not what timm says
    result CASE WHAT OURS THEIRS     errors of our float32 and of PyTorch's own against float64: of logits and maps the
                                     largest difference by the largest value; of gradients the largest relative
                                     difference of a parameter's norm, of norms above 1e-4 of the whole gradient's
Loads each case's weights with strict=True and every value equal. Writes CASE.timm/model.safetensors and config.json, and
CASE.adapted.safetensors: what timm makes of it for other channels, classes and photo sizes.
"""
import json
import os
import sys

import timm
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

here = sys.argv[1]
with open(here + "/cases.json") as f:
    given = json.load(f)
name = given["model"]
torch.set_num_threads(2)


def uniform(text, n):
    """n values of the rule of spec/fixtures/fill.lua, in [0, 1)"""
    import numpy as np
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, n + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return torch.from_numpy((z >> np.uint64(40)).astype(np.float64) / float(1 << 24))


def photos(text, c):
    shape = (c["batch"], c["channels"], c["size"], c["size"])
    return ((uniform(text, shape[0] * shape[1] * shape[2] * shape[3]) - 0.5) * 2).reshape(shape)


def arguments(c):
    o = {"num_classes": c["classes"]}  # some of timm's default weights have no classifier
    for key, value in c["options"].items():
        if key == "classes":
            continue
        if key == "features":
            o["features_only"], o["out_indices"] = True, [i - 1 for i in value]
        elif key != "head":
            o[key] = value
    return o


def check_card():
    card = given["card"]
    with torch.device("meta"):
        default = timm.create_model(name).pretrained_cfg
        net = timm.create_model("%s.%s" % (name, card["tag"]) if card.get("tag") else name, num_classes=1000).eval()
    cfg = net.pretrained_cfg
    if default["tag"] not in (cfg["tag"], "untrained") and "nc" not in default["license"]:
        print("card default %s %s" % (cfg["tag"], default["tag"]))
    with FlopCounterMode(display=False) as flops:
        net(torch.zeros(1, *cfg["input_size"], device="meta"))
    tagged = cfg["tag"] != "untrained" and (cfg.get("hf_hub_id") or cfg.get("url"))
    theirs = {
        "parameters": sum(p.numel() for p in net.parameters()), "tag": cfg["tag"] if tagged else None,
        "license": cfg["license"] if tagged else None, "size": cfg["input_size"][-1], "crop_pct": cfg["crop_pct"],
        "test_size": (cfg.get("test_input_size") or cfg["input_size"])[-1],
        "test_crop_pct": cfg.get("test_crop_pct") or cfg["crop_pct"], "crop_mode": cfg["crop_mode"],
        "interpolation": cfg["interpolation"], "mean": list(cfg["mean"]), "std": list(cfg["std"]),
    }
    for key, value in theirs.items():
        ours = card.get(key)
        same = abs(ours - value) < 1e-9 if isinstance(value, float) and ours is not None else \
            str(ours).lower() == str(value).lower() if not isinstance(value, list) else ours == value
        if not same:
            print("card %s %s %s" % (key, ours, value))
    gmacs = flops.get_total_flops() / 2e9
    if abs(card["gmacs"] / gmacs - 1) > 0.01:
        print("card gmacs %g %g" % (card["gmacs"], gmacs))


def check_drop_path():
    with torch.device("meta"):
        net = timm.create_model(name, drop_path_rate=0.2)
    theirs = []
    for m in net.modules():
        if getattr(m, "has_skip", True):
            theirs += [p.drop_prob for key, p in m.named_children() if type(p).__name__ == "DropPath" and p.drop_prob > 0]
    with open(here + "/drop_path.json") as f:
        ours = json.load(f)
    if len(ours) != len(theirs) or any(abs(a - b) > 1e-6 for a, b in zip(sorted(ours), sorted(theirs))):
        print("card drop_path %s %s" % (ours, theirs))


def compute(net, c, dtype):
    """what own_models.lua calls train, eval, grad NAME, map N"""
    out = {}
    x, x2 = photos("input", c).to(dtype), photos("input2", c).to(dtype)
    if c["step"]:
        net.train()
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum = 1.0
        y = torch.tensor([(i * 3) % c["classes"] for i in range(1, c["batch"] + 1)])
        logits = net(x)
        names, params = zip(*net.named_parameters())
        grads = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, y), params)
        out["train"] = logits.detach()
        for key, g in zip(names, grads):
            out["grad " + key] = g.double().norm()
    net.eval()
    with torch.no_grad():
        if "features" in c["options"]:
            for i, y in enumerate(net(x2)):
                out["map %d" % (i + 1)] = y
        elif c["options"].get("head") is False:
            out["eval"] = net.forward_features(x2)
        else:
            out["eval"] = net(x if c["step"] else x2)
    return {key: value.double() for key, value in out.items()}


def errors(got, want):
    """the worst of each kind: train, eval, grad, map"""
    worst, whole = {}, sum(float(v) ** 2 for k, v in want.items() if k.startswith("grad ")) ** 0.5
    for key, w in want.items():
        kind, g = key.split()[0], got[key].double()
        if kind == "grad":
            error = abs(float(g) - float(w)) / float(w) if float(w) > 1e-4 * whole else 0
        else:
            error = float((g.reshape(w.shape) - w).abs().max() / w.abs().max())
        worst[kind] = max(worst.get(kind, 0), error)
    return worst


def load(c):
    net = timm.create_model(name, **arguments(c))
    own = load_file("%s/%s.safetensors" % (here, c["name"]))
    if "features" in c["options"]:
        # features_only renames and wraps; every value it has must be in our file
        net.load_state_dict({k: own[k.replace("model.", "", 1) if k.startswith("model.") else
                                    k.replace("stages_", "stages.").replace("stem_", "stem.")] for k in net.state_dict()}, strict=True)
    elif c["options"].get("head") is False:
        lacking = net.load_state_dict(own, strict=False)
        classifier = net.pretrained_cfg["classifier"].split(".")[0]
        assert not lacking.unexpected_keys and all(k.startswith(classifier) for k in lacking.missing_keys), lacking
    else:
        net.load_state_dict(own, strict=True)
    return net, own


def write_file(c, net):
    folder = "%s/%s.timm" % (here, c["name"])
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder + "/model.safetensors", {"format": "pt"})
    with open(folder + "/config.json", "w") as f:
        json.dump({"architecture": name, "num_classes": net.num_classes}, f)


def adapt(c):
    """what timm makes of the file of case c["adapted"] with other options; its classifier is random and left out"""
    path = "%s/%s.timm/model.safetensors" % (here, c["adapted"])
    net = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": path, "source": "file"}, **arguments(c))
    state = {k: v.contiguous() for k, v in net.state_dict().items()
             if not k.startswith(net.pretrained_cfg["classifier"] + ".")}
    save_file(state, "%s/%s.adapted.safetensors" % (here, c["name"]))
    folder = "%s/%s.timm" % (here, c["name"])
    os.makedirs(folder, exist_ok=True)
    os.link(path, folder + "/model.safetensors")


check_card()
check_drop_path()
for c in given["cases"]:
    if not c["computes"]:
        adapt(c)
        continue
    net, own = load(c)
    if "features" not in c["options"] and c["options"].get("head") is not False:
        assert all(torch.equal(v, own[k]) for k, v in net.state_dict().items())
    if c["reads"]:
        write_file(c, net)
    start = {k: v.clone() for k, v in net.named_buffers()}
    single = compute(net, c, torch.float32)
    for k, v in net.named_buffers():
        v.copy_(start[k])
    net = net.double()
    double = compute(net, c, torch.float64)
    ours = errors(load_file("%s/%s.own.safetensors" % (here, c["name"])), double)
    theirs = errors(single, double)
    for kind in sorted(ours):
        print("result %s %s %.3g %.3g" % (c["name"], kind, ours[kind], theirs[kind]))
    del net, own, start
