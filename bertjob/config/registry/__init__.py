"""Tables that the login side and the ranks both read: one row per name, with code as "module:function" strings."""
