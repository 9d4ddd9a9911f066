# ruff: noqa: E501
"""Expressions that would hold or kill the process that evaluates them without
limits (SEC-12, SEC-13)."""

from __future__ import annotations

DATA = {"x": 1, "big": "a" * 300_000, "l": list(range(1000)), "d": {"a": 1}}

# fmt: off
HOSTILE = r"""
<% [0] * 2000000000 %>
<% 2000000000 * [0] %>
<% "a" * 1000000000 %>
<% 1000000000 * "a" %>
<% $.big * 100000 %>
<% generate(0, true, $ + 1).sum() %>
<% generate(0, true, $ + 1).len() %>
<% generate(0, true, $).where(false).len() %>
<% sequence().sum() %>
<% sequence().where(false) %>
<% range(1000000000).sum() %>
<% range(1000000000) %>
<% range(1000000000).where($ < 0).len() %>
<% [1].cycle().sum() %>
<% [1].cycle() %>
<% 1.repeat().sum() %>
<% 1.repeat() %>
<% 1.repeat().memorize().len() %>
<% range(100000).select(range(100000).select(range(100000).sum()).sum()).sum() %>
<% range(100000).select(range(100000)) %>
<% range(100000).join(range(100000), true, 1) %>
<% range(100000).join(range(100000), false, 1) %>
<% $.big =~ "(a?){500}(a){500}" %>
<% $.big.replace(regex(""), $.big) %>
<% $.big.replace("a", $.big) %>
<% $.big.replace("", $.big) %>
<% $.big.replace(dict("a" => $.big)) %>
<% pow(10, 100000000) %>
<% pow(pow(10, 4000), 4000) %>
<% shiftBitsLeft(1, 100000000000) %>
<% round(1, -1000000000) %>
<% def(f, f($)) -> f(1) %>
<% def(f, f($) + f($)) -> f(1) %>
<% range(100000).aggregate($1 + $1, "aaaaaaaaaa") %>
<% range(100000).aggregate($1 + $1, [1, 2, 3]) %>
<% range(100000).aggregate($1 * 10, 1) %>
<% range(100000).aggregate($1 * $1, 10) %>
<% range(100000).aggregate([$1, $1], 0) %>
<% range(40).aggregate([$1, $1], 0) %>
<% str(range(40).aggregate([$1, $1], 0)) %>
<% range(40).aggregate([$1, $1], 0).flatten().len() %>
<% range(40).aggregate([$1, $1], []).flatten().len() %>
<% range(40).aggregate([$1, $1], 0).toSet() %>
<% range(40).aggregate([$1, $1], 0) = range(40).aggregate([$1, $1], 0) %>
<% range(40).aggregate([$1, $1], 0) in [range(40).aggregate([$1, $1], 0)] %>
<% range(40).aggregate({a => $1, b => $1}, 0) = range(40).aggregate({a => $1, b => $1}, 0) %>
<% range(40).aggregate({a => $1, b => $1}, 0).mergeWith(range(40).aggregate({a => $1, b => $1}, 0)) %>
<% dict(range(40).aggregate([$1, $1], 0) => 1) %>
<% {range(40).aggregate([$1, $1], 0) => 1} %>
<% $.d.get(range(40).aggregate([$1, $1], 0)) %>
<% range(40000).aggregate([$1], 0).toSet() %>
<% set(range(40000).aggregate([$1], 0)) %>
<% range(50000).aggregate($1.select($), [1]).sum() %>
<% range(50000).aggregate($1.select($), [1]).len() %>
<% range(50000).aggregate(concat($1, [1]), [1]).len() %>
<% range(50000).aggregate($1.append(1), [1]).len() %>
<% range(50000).aggregate($1.skip(1), [1]).len() %>
<% range(50000).aggregate($1.memorize(), 1.repeat()).len() %>
<% range(50000).aggregate($1.orderBy($), [1]) %>
<% range(50000).aggregate($1.zip([1]), [1]) %>
<% range(100000).select($ * 2305843009213693951).toSet() %>
<% range(100000).select($ * 2305843009213693951).distinct().len() %>
<% range(100000).select([$ * 2305843009213693951]).distinct().len() %>
<% range(100000).toDict($ * 2305843009213693951) %>
<% range(100000).groupBy($ * 2305843009213693951) %>
<% range(100000).orderBy(-$).select($) %>
<% range(100000).orderBy([$]).select($) %>
<% range(100000).select($.toString()) %>
<% let(a => $.big) -> range(100000).select($a).join("") %>
<% let(a => range(100000).toList()) -> range(100000).select($a.sum()).sum() %>
<% let(a => range(100000).toList()) -> range(100000).select($a.distinct().len()).sum() %>
<% let(a => range(100000).toList()) -> range(100000).select(-1 in $a).where($) %>
<% let(a => range(100000).toList()) -> range(100000).select($a + $a).select($.len()).sum() %>
<% let(a => range(100000).toList()) -> range(100000).select($a.toSet().len()).sum() %>
<% let(a => range(100000).toList()) -> range(100000).select($a.indexOf(-1)).sum() %>
<% let(a => range(100000).toList()) -> range(100000).select($a.reverse().first()).sum() %>
<% let(a => $.big) -> range(100000).select($a.toUpper().len()).sum() %>
<% let(a => $.big) -> range(100000).select($a.split("a").len()).sum() %>
<% let(a => $.big) -> range(100000).select("aaaaaaab" in $a).where($) %>
<% generateMany(0, sequence()).len() %>
<% generateMany(0, range(100000).toList()).len() %>
<% $.big.split("") %>
<% $.big.toCharArray().select($.big).join("") %>
<% range(100000).select("a" * 1000000).join("") %>
<% range(100000).select("a" * 1000000).toList() %>
<% json_parse("[" * 1000000) %>
<% json_dump(range(40).aggregate([$1, $1], 0)) %>
<% yaml_parse("[" * 1000000) %>
<% yaml_parse("a: " * 1000) %>
<% yaml_dump(range(100000).select([$, $])) %>
<% datetime("1" * 100000) %>
<% datetime(2000,1,1).format("%Y" * 100000) %>
<% "a".replaceBy(regex("a"), $.big * 1000) %>
<% regex("a").searchAll($.big).len() %>
<% $.big.replaceBy(regex("a"), "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb") %>
<% int("9" * 1000000) %>
<% (("9" * 4000) + "9").len() + int("9" * 4000) * int("9" * 4000) %>
<% range(100000).zip(range(100000)).zip(range(100000)).selectMany($).len() %>
<% range(100000).selectMany(range(100000)).len() %>
<% range(100000).selectMany([]).len() %>
<% range(100000).select(range(100000).selectMany([])).selectMany($).len() %>
<% 1.repeat().takeWhile(true).len() %>
<% 1.repeat().skipWhile(true).len() %>
<% sequence().first(nope).repeat().any(false) %>
<% 1.repeat().all() %>
<% 1.repeat().indexOf(2) %>
<% 1.repeat().toDict($) %>
<% 1.repeat().groupBy($) %>
<% 1.repeat().toSet() %>
<% 1.repeat().slice(3).len() %>
<% 1.repeat().splitWhere(false).len() %>
<% 1.repeat().accumulate($1 + $2).len() %>
<% 1.repeat().defaultIfEmpty([]).len() %>
<% 1.repeat().last() %>
<% 1.repeat().reverse() %>
<% 2 in 1.repeat() %>
<% list(1.repeat()) %>
<% set(1.repeat()) %>
<% dict(1.repeat()) %>
<% [1.repeat()] %>
<% 1.repeat().unpack() -> $1 %>
<% 1.repeat().enumerate().len() %>
<% 1.repeat().insert(5, 1).len() %>
<% 1.repeat().delete(5).len() %>
<% 1.repeat().zipLongest([1]).len() %>
<% call("#operator_*", [[0], 2000000000], {}) %>
<% call(repeat, [1], {}) %>
{{ [0] * 2000000000 }}
{{ 2000000000 * [0] }}
{{ "a" * 10**9 }}
{{ 10**9 * "a" }}
{{ _.big * 100000 }}
{{ 10 ** 100000000 }}
{{ range(100000000000) }}
{{ range(100000000000000000000000) }}
{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}
{% for a in range(100000) %}{{ _.big }}{% endfor %}
{% for a in range(100000) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}
{% set x %}{% for a in range(100000) %}{{ _.big }}{% endfor %}{% endset %}
{% macro m() %}{% for a in range(100000) %}{{ _.big }}{% endfor %}{% endmacro %}{{ m() }}
{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}
{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}
{% for i in range(10) recursive %}{{ loop(range(10)) }}{% endfor %}
{% for i in range(10) recursive %}{% if loop.depth < 900 %}{{ loop(range(100000)) }}{% endif %}{% endfor %}
{{ lipsum(n=100000000) }}
{{ lipsum(n=1, max=1000000000) }}
{% set j = joiner("a" * 1000000) %}{% for i in range(100000) %}{{ j() }}{% endfor %}
{{ "{:>999999999}".format(1) }}
{{ "{:{w}}".format(1, w=999999999) }}
{{ "{:.999999999f}".format(1.5) }}
{{ "%999999999d" % 1 }}
{{ "%.999999999f" % 1.5 }}
{{ "%*d" % (999999999, 1) }}
{{ "%(a(b))999999999d" % {"a(b)": 1} }}
{{ ("%(a)s" * 1000) % {"a": _.big} }}
{{ ("{0}" * 100000).format(_.big) }}
{{ "%999999999d"|format(1) }}
{{ "{:>999999999}"|attr("format") }}
{{ ("{:>999999999}"|attr("format"))(1) }}
{{ ["{:>999999999}"]|map("format", 1)|list }}
{{ "%999999999d"|safe|format(1) }}
{{ ("%999999999d"|safe) % 1 }}
{{ ("{:>999999999}"|safe).format(1) }}
{{ "a"|center(999999999) }}
{{ "a".center(999999999) }}
{{ "a".zfill(999999999) }}
{{ "\t".expandtabs(999999999) }}
{{ "a"|indent(999999999, true) }}
{{ _.big.replace("a", _.big) }}
{{ _.big|replace("a", _.big) }}
{{ _.big.replace("", _.big) }}
{{ _.big|replace("", _.big) }}
{{ _.big.join(_.big) }}
{{ _.big|join(_.big) }}
{{ _.big.split("a")|length }}
{{ [1]|batch(999999999, 0)|list }}
{{ [1]|slice(999999999)|list }}
{{ 1.5|round(999999999) }}
{{ 1.5|round(-999999999) }}
{{ 1.5|round(999999999, "floor") }}
{{ {"a": 1}|tojson(indent=999999999) }}
{{ _.big|wordwrap(1) }}
{{ _.big|urlize }}
{{ ("<" * 1000000)|striptags }}
{{ _.big|title }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|string }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a ~ "" }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|tojson }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ "%s" % (ns.a,) }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ "{}".format(ns.a) }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ json_dump(ns.a) }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a in [ns.b] }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a < ns.b }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ 1 == ns.a == ns.b }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ [ns.a].index(ns.b) }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ [ns.a, ns.b]|sort }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ [ns.a, ns.b]|max }}
{% set ns = namespace(a=0, b=0) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ [ns.a]|select("eq", ns.b)|list }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ {ns.a: 1} }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ _[ns.a] }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ ns.a in _ }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ _.get(ns.a) }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ dict([(ns.a, 1)]) }}
{% set ns = namespace(a=0) %}{% for i in range(40) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ [ns.a]|unique }}
{% set ns = namespace(a=0) %}{% for i in range(100000) %}{% set ns.a = (ns.a,) %}{% endfor %}{{ {ns.a: 1} }}
{% set ns = namespace(a=[1]) %}{% for i in range(50000) %}{% set ns.a = ns.a|map("abs") %}{% endfor %}{{ ns.a|list }}
{% set ns = namespace(a="a") %}{% for i in range(100) %}{% set ns.a = ns.a + ns.a %}{% endfor %}
{% set ns = namespace(a="a") %}{% for i in range(100) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}
{% set ns = namespace(a=[1]) %}{% for i in range(100) %}{% set ns.a = ns.a + ns.a %}{% endfor %}
{% set ns = namespace(a=10) %}{% for i in range(100) %}{% set ns.a = ns.a * ns.a %}{% endfor %}
{% set l = [1] %}{% for i in range(100) %}{% set x = l.extend(l) %}{% endfor %}
{% set l = [1] %}{% set x = l.append(l) %}{{ l }}
{% set l = [1] %}{% set x = l.append(l) %}{{ l == [l] }}
{% set l = [1] %}{% set x = l.append(l) %}{{ l|tojson }}
{% for i in range(100000) %}{% for j in range(100000) %}{{ 1 in _.l }}{% endfor %}{% endfor %}
{% for i in range(100000) %}{% set x = _.big.upper() %}{% endfor %}
{% for i in range(100000) %}{% set x = _.big|upper %}{% endfor %}
{% for i in range(100000) %}{% set x = _.big + "a" %}{% endfor %}
{% for i in range(100000) %}{% set x = _.big ~ "a" %}{% endfor %}
{% for i in range(100000) %}{% set x = _.big == _.big + "a" %}{% endfor %}
{% for i in range(100000) %}{% set x = _.big[1:] %}{% endfor %}
{% for i in range(100000) %}{% set x = _.l|sort %}{% endfor %}
{% for i in range(100000) %}{% set x = range(100000)|list %}{% endfor %}
{% for i in range(100000) %}{% set x = range(100000)|sum %}{% endfor %}
{% for i in range(100000) %}{% set x = -1 in range(100000)|list %}{% endfor %}
{{ range(100000)|map("string")|join("a" * 1000000) }}
{{ (range(100000)|map("string")|list + [1]) * 1000 }}
{{ [[1]] * 100000|sum(start=[]) }}
{{ ([[1]] * 100000)|sum(start=[])|length }}
{{ "a".translate({97: "b" * 10000000}) * 2 }}
{{ ("a" * 1000000).translate({97: "b" * 1000000}) }}
{{ (1).to_bytes(10000000000, "big") }}
{{ json_parse("[" * 1000000) }}
{{ yaml_parse("[" * 100000) }}
{{ range(100000)|random|string * 1000000000 }}
{{ dict.fromkeys(range(100000), 1) }}
{{ range(100000)|groupby("real")|length }}
{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == ns.x }}
{% set ns = namespace(x=[], y=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}
""".strip().splitlines()
# fmt: on

DEEP = [
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "<% " + "(" * 20_000 + "1" + ")" * 20_000 + " %>",
    "<% " + "-" * 30_000 + "1 %>",
    "<% " + "not " * 10_000 + "1 %>",
    "<% " + "[" * 20_000 + "]" * 20_000 + " %>",
    "<% " + "1+" * 20_000 + "1 %>",
    "<% $" + ".a" * 20_000 + " %>",
    "{{ " + "not " * 15_000 + "1 }}",
    "{{ " + "1+" * 30_000 + "1 }}",
    "{{ " + "-" * 30_000 + "1 }}",
    "{{ " + "[" * 150 + "]" * 150 + " }}",
    "{{ 1" + "|abs" * 5_000 + " }}",
    "{{ _" + ".a" * 20_000 + " }}",
    "{% if 1 %}" * 1_000 + "{% endif %}" * 1_000,
    "{% for i in [1] %}" * 50 + "{% endfor %}" * 50,
    "{{ 1 }}" * 30_000,
]
