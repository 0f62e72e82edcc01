"""`callboard doctor`: is all there that Callboard needs here, and how is mended what is not?"""
