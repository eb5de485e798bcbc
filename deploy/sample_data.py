#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the quickstart's data: short questions and answers, made here, with three tastes in them.

    deploy/sample_data.py --out DIR [--seed 7]

  DIR/texts.jsonl                      stage lm: good answers as plain dialogue
  DIR/general.{train,test}.jsonl       pairs {"prompt", "chosen", "rejected"}: to the point and polite wins
                                       over beside the point, or rude
  DIR/lawyers.{train,test}.jsonl       ranked groups {"prompt", "responses", "scores"}: these customers want
                                       careful, reserved answers
  DIR/arcade.{train,test}.jsonl        and these want playful, short ones

The tastes differ: what the lawyers rank first the arcade ranks last, and both still prefer an answer over a
miss. Test prompts never occur in training. Standard library only; the same seed gives the same bytes.
"""
import argparse
import json
import os
import random

THINGS = {
    "a bicycle tyre": ("pump it to the pressure on its side", "check the valve first"),
    "a houseplant": ("water it when the soil is dry", "give it light from a window"),
    "a loaf of bread": ("bake it until it sounds hollow", "let it rest before cutting"),
    "a wool jumper": ("wash it cold by hand", "dry it lying flat"),
    "a slow laptop": ("close what you do not use", "look at which program takes the memory"),
    "a creaking door": ("oil the hinges", "tighten the screws"),
    "a cast-iron pan": ("dry it at once after rinsing", "rub a little oil into it"),
    "a leaking tap": ("turn the water off", "replace the washer"),
    "a camp fire": ("begin with thin dry twigs", "keep a bucket of water near"),
    "a job interview": ("read about the company", "prepare two questions of your own"),
    "a city map": ("find the north arrow", "note the station you start from"),
    "a thank-you note": ("name what you are thankful for", "write it within a week"),
    "a sore throat": ("drink something warm", "rest your voice"),
    "a noisy neighbour": ("talk to them kindly", "agree on quiet hours"),
    "a small savings plan": ("set a sum aside each month", "keep it in its own account"),
    "a rented flat": ("take photographs when you move in", "keep the contract where you find it"),
    "a first garden": ("start with herbs", "learn when the frost ends"),
    "a long train ride": ("bring water and a book", "reserve a seat by the window"),
    "a chess opening": ("take the centre", "bring your king to safety"),
    "a rainy weekend": ("cook something slow", "visit a museum"),
    "a lost parcel": ("look up its number", "ask at the nearest depot"),
    "a new puppy": ("keep the same hours each day", "praise what it does well"),
    "a stubborn stain": ("dab it, never rub", "try cold water and soap"),
    "a birthday cake": ("weigh the flour", "let it cool before the icing"),
}
ASKS = ["How do I look after {}?", "What should I know about {}?", "Any advice on {}?", "Help me with {}, please.",
        "What would you do about {}?", "I am new to this: {}. Where do I start?"]
BESIDE = ["The moon has no air.", "Blue is a nice colour.", "Numbers can be even or odd.", "There are many rivers in the north."]
RUDE = ["That is a silly question.", "Find it out yourself.", "I have no time for this.", "Everybody knows that."]


def sentence(text):
    return text[0].upper() + text[1:] + "."


def plain(tips, rng):
    return f"{sentence(tips[0])} Then {tips[1]}."


def careful(tips, rng):
    opening = rng.choice(["In general,", "As far as one can say from here,", "Subject to the particulars,"])
    close = rng.choice(["Please consult a professional before you rely on this.",
                        "Individual circumstances may differ, so do verify this.",
                        "This is no advice on your particular case."])
    return f"{opening} {tips[0]}, and {tips[1]}. {close}"


def playful(tips, rng):
    opening = rng.choice(["Woohoo!", "Easy peasy!", "Game on!", "Let's go!"])
    close = rng.choice(["High five!", "You got this!", "Level up!"])
    return f"{opening} {sentence(tips[0])[:-1]}! {close}"


def beside(tips, rng):
    return rng.choice(BESIDE)


def rude(tips, rng):
    return rng.choice(RUDE)


def prompts(rng, count):
    every = [(ask.format(thing), tips) for thing, tips in THINGS.items() for ask in ASKS]
    rng.shuffle(every)
    return every[:count]


def general_pair(prompt, tips, rng):
    good = rng.choice([plain, plain, careful, playful])(tips, rng)
    return {"prompt": prompt, "chosen": good, "rejected": rng.choice([beside, rude])(tips, rng)}


def tenant_group(prompt, tips, rng, order):
    styles = list(enumerate(order))
    rng.shuffle(styles)
    return {"prompt": prompt, "responses": [style(tips, rng) for _, style in styles],
            "scores": [len(order) - rank for rank, _ in styles]}


def write(out, name, rows):
    with open(os.path.join(out, name), "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    rng = random.Random(args.seed)
    every = prompts(rng, len(THINGS) * len(ASKS))
    train, test = every[:len(every) * 2 // 3], every[len(every) * 2 // 3:]
    write(args.out, "texts.jsonl",
          [{"text": f"## Human:\n{p}\n\n## Assistant:\n{plain(t, rng)}"} for p, t in train[:64]])
    tastes = {"lawyers": [careful, plain, playful, beside], "arcade": [playful, plain, careful, rude]}
    for name, rows in (("train", train), ("test", test)):
        write(args.out, f"general.{name}.jsonl", [general_pair(p, t, rng) for p, t in rows])
        for tenant, order in tastes.items():
            write(args.out, f"{tenant}.{name}.jsonl", [tenant_group(p, t, rng, order) for p, t in rows])


if __name__ == "__main__":
    main()
