"""The review desk: pages for people, drawn by the server.

Every page asks for a role (`session.require`); every form carries a CSRF token; without JavaScript every action still
works as a plain form. `shell.render` draws a page inside the common frame.
"""
