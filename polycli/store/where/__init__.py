"""Conditions over the columns of a table, as users write them: `--where 'redshift < 0.1 and class in ("spiral")'`.

    condition   := condition or condition | condition and condition | not condition | (condition)
                 | value < value      also <= > >= = == != <>, and chains such as 0.1 < redshift <= 0.2
                 | value [not] between value and value
                 | value [not] in (literal, ...)
                 | value is [not] null
                 | the name of a logical column
    value       := value + value      also - * / % ** and a sign before it
                 | function(value, ...) | number | 'text' | "text" | true | false | column | `any column`

Functions are abs, sqrt, exp, ln, log10, log2, floor, ceil, round, sign, least, greatest, lower and upper. A name with
other characters than letters, digits, `_` and `.` stands between backticks. Words such as `and` may be in capitals.

What is not known, a null or a NaN, makes a comparison neither true nor false: `redshift > 1` and `not (redshift > 1)`
both leave out a row without a redshift, `redshift is null` finds it. `or` is true where one side is, whatever the other
one is; `and` is false where one side is. Integers are compared and added exactly; divisions are of real numbers, and
by zero they give what IEEE 754 says.

Nothing is ever evaluated as code: `conditions.parse_condition` reads a text into a tree of these parts, and its nodes
work on whole arrays.
"""
