"""Jumps out of a wrapped block, and jumps that are called off on their way; names and scopes beside them."""

from __future__ import annotations

import textwrap

import pytest
from repeating import check

PROGRAMS = {
"return-continue": """
for n in range(2):
    for k in range(3):
        try:
            return 1
        finally:
            continue
    loss.backward(); optimizer.step(); log(n)
return 2
""",
"return-raise": """
for n in range(2):
    try:
        try:
            return 1
        finally:
            raise ValueError
    except ValueError:
        pass
    loss.backward(); optimizer.step(); log(n)
return 2
""",
"break-raise": """
for n in range(2):
    try:
        try:
            break
        finally:
            raise ValueError
    except ValueError:
        log("caught")
    loss.backward(); optimizer.step(); log(n)
log("end")
""",
"with-raises": """
for n in range(2):
    with entered(2):
        with entered(3):
            return 1
    loss.backward(); optimizer.step(); log(n)
return 2
""",
"finally-inner-loop": """
for n in range(2):
    loss.backward(); optimizer.step()
    try:
        return n
    finally:
        for k in range(3):
            if k: break
        log("f")
        zero = 0
        while zero < 2:
            zero += 1
            continue
    log(n)
return 2
""",
"finally-try": """
for n in range(2):
    try:
        loss.backward(); optimizer.step()
        return n
    finally:
        try:
            raise ValueError
        except ValueError:
            log("caught")
    log(n)
return 2
""",
"finally-inner-return-superseded": """
for n in range(2):
    try:
        loss.backward(); optimizer.step()
        return n
    finally:
        try:
            try:
                return 5
            finally:
                raise ValueError
        except ValueError:
            log("caught")
    log(n)
return 2
""",
"finally-return": """
for n in range(2):
    try:
        loss.backward(); optimizer.step()
        return n
    finally:
        return 7
""",
"finally-break-inner": """
for n in range(2):
    for k in range(3):
        try:
            return 1
        finally:
            break
    loss.backward(); optimizer.step(); log(n)
return 2
""",
"finally-break-outer": """
for n in range(2):
    try:
        loss.backward(); optimizer.step(); log(n)
        return 1
    finally:
        if n == 0:
            continue
        break
return 2
""",
"handler-own-break": """
for n in range(2):
    for k in range(3):
        try:
            try:
                return 1
            finally:
                raise ValueError
        except ValueError:
            break
    loss.backward(); optimizer.step(); log(n)
return 2
""",
"handler-own-continue": """
for n in range(2):
    for k in range(3):
        try:
            try:
                return 1
            finally:
                raise ValueError
        except ValueError:
            continue
    else:
        log("else")
    loss.backward(); optimizer.step(); log(n)
return 2
""",
"swallow-raise-in-finally-return": """
for n in range(2):
    loss.backward(); optimizer.step(); log(n)
    try:
        raise ValueError
    finally:
        return 4
""",
"return-evaluates-raise": """
for n in range(2):
    loss.backward(); optimizer.step(); log(n)
    try:
        return log(1) or int("x")
    except ValueError:
        log("x")
return 3
""",
"nested-return-3": """
for n in range(2):
    for i in range(3):
        for j in range(3):
            with entered(1):
                if j: return i, j
    loss.backward(); optimizer.step(); log(n)
return 3
""",
"return-in-inner-else": """
for n in range(2):
    for i in range(3):
        pass
    else:
        if n: return i
    loss.backward(); optimizer.step(); log(n)
return 3
""",
"return-in-tail": """
for n in range(2):
    loss.backward(); optimizer.step(); log(n)
    if n: return 5
""",
"trystar": """
for n in range(3):
    try:
        loss.backward(); optimizer.step(); log(n)
        raise ExceptionGroup("g", [ValueError(1), KeyError(2)])
    except* ValueError as e:
        log(len(e.exceptions))
    except* KeyError:
        log("key")
    if n: break
""",
"yield-tail": """
for n in range(3):
    loss.backward(); optimizer.step()
    if n == 1: continue
    yield n
return
""",
"yield-step": """
for n in range(4):
    if n == 1: continue
    loss.backward()
    yield log(optimizer.step(), n)
log("end")
""",
"global-nonlocal": """
total = 0
def inner():
    nonlocal total
    global x
    for n in range(3):
        total += n
        x = n
        loss.backward(); optimizer.step()
        if n == 1: break
    return total
log(inner(), total, x)
""",
"default-capture": """
fs = ()
for n in range(3):
    fs += (lambda k=n: (k, n),)
    loss.backward(); optimizer.step()
return [f() for f in fs]
""",
"del-target": """
for n in range(3):
    loss.backward(); optimizer.step()
    del n
log("n" in locals())
""",
"star-args": """
def step(*args, **kwargs):
    loss.backward(); optimizer.step()
    return args, kwargs
for n, *rest in [(1, 2, 3), (4, 5)]:
    *first, last = rest
    out = step(*first, last=last, **{"n": n})
    log(out)
return out
""",
"finally-in-inner-loop-in-finally": """
for n in range(2):
    try:
        loss.backward(); optimizer.step()
        return n
    finally:
        for k in range(2):
            try:
                log(k)
                break
            finally:
                log("inner finally")
    log(n)
return 2
""",
"continue-superseded-by-return": """
for n in range(2):
    loss.backward(); optimizer.step()
    try:
        continue
    finally:
        if n: return 3
return 4
""",
}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_comes_to_the_same(name: str) -> None:
    source = "def program():\n" + textwrap.indent(PROGRAMS[name].strip("\n"), "    ") + "\n"
    check(source, sites=1)
