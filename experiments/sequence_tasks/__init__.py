"""RESULTS"""
